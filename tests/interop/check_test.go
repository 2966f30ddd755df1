package interop_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/seawall-go/seawall/apierror"
)

// atMostOnce are the fields that no response may have twice.
var atMostOnce = []string{
	"Cache-Control", "Content-Encoding", "Content-Length", "Content-Type", "Idempotent-Replayed", "Ratelimit", "Ratelimit-Policy",
	"Retry-After", "X-Content-Type-Options", "X-Should-Retry",
}

// wrongFunc is called with an aspect of an answer that is wrong, and a description.
type wrongFunc func(aspect, format string, args ...any)

// check calls wrong for each aspect of an answer that is wrong.
func (c composition) check(req request, a answer, wrong wrongFunc) {
	if a.header == nil && !req.torn { // aborted before it began
		wrong("status", "%v", a.err)
		return
	}
	if a.header != nil && a.status != req.status {
		wrong("status", "%d", a.status)
	}
	if (a.hints == 1) != req.hinted {
		wrong("hints", "%d", a.hints)
	}
	c.checkHeader(req, a, wrong)
	checkBody(req, a, wrong)
	if !rightRoute(req, a.pattern) {
		wrong("pattern", "%q", a.pattern)
	}
	c.checkLog(req, a, wrong)
}

func (c composition) checkHeader(req request, a answer, wrong wrongFunc) {
	h := a.header
	ids := h.Values("Request-Id")
	if h != nil && len(ids) != 1 || !slices.Equal(ids, h.Values("X-Request-Id")) {
		wrong("header", "ids %q, %q", ids, h.Values("X-Request-Id"))
	}
	for _, field := range atMostOnce {
		if values := h.Values(field); len(values) > 1 {
			wrong("header", "%s: %q", field, values)
		}
	}
	for _, field := range append([]string{"Ratelimit", "Ratelimit-Policy", c.field}, req.fields...) {
		if field != "" && h != nil && h.Get(field) == "" {
			wrong("header", "no %s", field)
		}
	}
	switch encoding := h.Get("Content-Encoding"); {
	case encoding != "" && !a.gzip:
		wrong("encoding", "%s, which was not asked for", encoding)
	case encoding != "gzip" && a.gzip && !a.head && c.compresses != "" && req.code == "":
		wrong("encoding", "%q", encoding)
	}
	if req.code != "" && (h.Get("Content-Type") != "application/json" || h.Get("Cache-Control") != "no-store") {
		wrong("header", "Content-Type %q, Cache-Control %q", h.Get("Content-Type"), h.Get("Cache-Control"))
	}
}

func checkBody(req request, a answer, wrong wrongFunc) {
	var object struct {
		Error struct {
			Code      apierror.Code
			RequestID string `json:"request_id"`
		}
	}
	switch {
	case req.torn:
		if a.err == nil {
			wrong("body", "the client does not see that %d bytes are incomplete", len(a.wire))
		}
	case a.err != nil:
		wrong("body", "%v", a.err)
	case a.head:
		if len(a.wire) > 0 {
			wrong("body", "%q", a.wire)
		}
	case req.code == "":
		if string(a.body) != itemBody {
			wrong("body", "%.60q", a.body)
		}
	case json.Unmarshal(a.body, &object) != nil || object.Error.Code != req.code:
		wrong("body", "%.60q", a.body)
	case object.Error.RequestID != a.header.Get("Request-Id"):
		wrong("body", "id %s under %s", object.Error.RequestID, a.header.Get("Request-Id"))
	}
}

func (c composition) checkLog(req request, a answer, wrong wrongFunc) {
	if len(a.log) != 1 {
		wrong("log", "%d lines", len(a.log))
		return
	}
	line := a.log[0]
	if line.Status != req.status || line.Aborted != req.torn || a.header != nil && line.RequestID != a.header.Get("Request-Id") {
		wrong("log", "%+v", line)
	}
	if line.Code != req.code && !req.torn {
		wrong("log code", "%q", line.Code)
	}
	if !rightRoute(req, line.Pattern) {
		wrong("log pattern", "%q", line.Pattern)
	}
	bytes := len(a.wire)
	if c.compresses == "outside" {
		bytes = len(a.body)
	}
	if line.Bytes != bytes && !req.torn {
		wrong("log bytes", "%d instead of %d", line.Bytes, bytes)
	}
}

// rightRoute compares routes without their methods, because some routers have a route for HEAD.
func rightRoute(req request, pattern string) bool {
	if pattern == "" {
		return req.early || req.route == ""
	}
	_, route, _ := strings.Cut(pattern, " ")
	return route == req.route
}

// problems are descriptions of the wrong aspects, by "request/aspect".
type problems map[string][]string

func (p problems) add(request, aspect, format string, args ...any) {
	key := request + "/" + aspect
	p[key] = append(p[key], fmt.Sprintf(format, args...))
}

// compare fails the test for each problem that has no exception, and for each exception
// without a problem.
func (p problems) compare(t *testing.T, exceptions map[string]string) {
	t.Helper()
	idle := maps.Clone(exceptions)
	for _, key := range slices.Sorted(maps.Keys(p)) {
		_, aspect, _ := strings.Cut(key, "/")
		delete(idle, key)
		delete(idle, "*/"+aspect)
		if exceptions[key] == "" && exceptions["*/"+aspect] == "" {
			t.Errorf("%s: %s", key, strings.Join(p[key], "; "))
		}
	}
	for key, why := range idle {
		t.Errorf("%s is right, so it needs no exception (%s)", key, why)
	}
}
