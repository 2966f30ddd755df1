package frameworks_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/examples/frameworks"
)

// framework is a row of the table: each case holds with it, unless it is among the exceptions.
type framework struct {
	name    string
	handler func(*frameworks.Service, *seawall.Stack) http.Handler

	// exceptions are the cases that cannot hold, by name, with the reasons. The test fails if one
	// of them holds.
	exceptions map[string]string
}

// The reasons for exceptions that several frameworks have.
const (
	routesLate = "the router cannot be asked for the route before it serves the request"
	plainPath  = "the router matches the path without its escapes"
	ginAsserts = "gin's writer asserts the interfaces of the writer below, and does not unwrap it"
)

var all = []framework{
	{name: "ServeMux", handler: frameworks.ServeMux},
	{name: "chi", handler: frameworks.Chi},
	{
		name: "gorilla", handler: frameworks.Gorilla,
		exceptions: map[string]string{
			"escaped slash in a parameter": plainPath,
		},
	},
	{
		name: "httprouter", handler: frameworks.HTTPRouter,
		exceptions: map[string]string{
			"escaped slash in a parameter": plainPath,
			"pattern of an early answer":   routesLate,
		},
	},
	{
		name: "gin", handler: frameworks.Gin,
		exceptions: map[string]string{
			"another media type":                 "c.ShouldBindJSON does not look at the Content-Type",
			"events through a wrapped writer":    ginAsserts + "; its Flush does nothing",
			"websocket through a wrapped writer": ginAsserts + "; its Hijack panics",
			"pattern of an early answer":         routesLate,
		},
	},
	{name: "echo v4", handler: frameworks.Echo},
	{
		name: "echo v5", handler: frameworks.Echo5,
		exceptions: map[string]string{
			"no pattern of a wrong method": "echo sets the pattern for those too",
			"pattern of an early answer":   "echo overwrites the pattern that was set before it, so a middleware of echo sets it",
		},
	},
	{name: "huma", handler: frameworks.Huma},
	{name: "oapi-codegen", handler: frameworks.OapiCodegen},
	{name: "connect", handler: frameworks.Connect},
}

func TestCasesHoldWithEveryFramework(t *testing.T) {
	t.Parallel()
	for _, f := range all {
		for _, c := range cases {
			t.Run(f.name+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				problem, why := c.try(t, f), f.exceptions[c.name]
				switch {
				case problem != "" && why == "":
					t.Error(problem)
				case problem == "" && why != "":
					t.Errorf("the case holds, so it needs no exception (%s)", why)
				}
			})
		}
	}
}

func TestExceptionsNameCases(t *testing.T) {
	t.Parallel()
	names := make(map[string]bool)
	for _, c := range cases {
		assert.False(t, names[c.name], "%s is there twice", c.name)
		names[c.name] = true
	}
	for _, f := range all {
		for name := range f.exceptions {
			assert.True(t, names[name], "%s: %s", f.name, name)
		}
	}
}
