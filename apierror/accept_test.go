package apierror_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/seawall-go/seawall/apierror"
)

func TestAcceptChoosesBetweenErrorObjectAndProblemDetails(t *testing.T) {
	t.Parallel()
	rd := quiet()
	rd.Problem = true
	for accept, problem := range map[string]bool{
		"":                             false,
		"*/*":                          false,
		"application/*":                false,
		"application/json":             false,
		"application/problem+json":     true,
		"Application/Problem+JSON":     true,
		"application/problem+json;q=0": false,
		"application/problem+json;q=0.0, */*;q=0":                                               false,
		"application/problem+json, application/json":                                            false,
		"application/json, application/problem+json":                                            false,
		"application/json;q=0.5, application/problem+json;q=0.6":                                true,
		"application/json;q=0.6, application/problem+json;q=0.5":                                false,
		"application/json;q=0, application/problem+json;q=0.1":                                  true,
		"application/problem+json, */*":                                                         true,
		"application/problem+json;q=0.8, */*":                                                   false,
		"application/problem+json, application/*;q=0.9":                                         true,
		"application/problem+json ; q = 1":                                                      true,
		"application/problem+json;Q=0.4, application/json;q=0.3":                                true,
		"application/problem+json;q=2":                                                          false,
		"application/problem+json;q=-1":                                                         false,
		"application/problem+json;q=x":                                                          false,
		"application/problem+json;q=1e-1":                                                       false,
		"application/problem+json;q=NaN":                                                        false,
		"application/problem+json;q=":                                                           false,
		`text/x;a="\",application/problem+json,\""`:                                             false,
		`text/x;a="b,c;q=0", application/problem+json`:                                          true,
		"application/problem+json;profile=x;q=0.9, application/json;q=.8":                       true,
		"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8": false,
		", ;,": false,
		"application/json;q=0.9, application/json;q=0.1, application/problem+json;q=0.5": false,
		"application/problem+json, application/json;q=1":                                 false,
		"application/problem+json;q=x;a=b, application/json":                             false,
		"application/problem+json;q=x;a=b":                                               false,
		"application/json;q=0.1, application/problem+json;q=0.9":                         true,
		"application/problem+json;q=0.5, text/html":                                      true,
		"application/json;q=0, application/problem+json;q=0.5, */*":                      true,
		"application/problem+json;q=0.5, application/json;q=0.5":                         false,
		"application/problem+json;q=0.5, application/*;q=0.6":                            false,
		"application/problem+json;q=0.5, */*;q=0.5":                                      true,
		"application/problem+json;q=1.0":                                                 true,
		"application/problem+json;q=1.1":                                                 false,
		"application/json;q=1.1.1, application/problem+json;q=0.5, */*":                  false,
		`text/html;a="x,y", application/problem+json`:                                    true,
		`text/html;a="\",application/json", application/problem+json`:                    true,
		"application/problem+json;level=2;q=0.2, application/json;q=.1":                  true,
	} {
		w := write(rd, accept, apierror.ParameterMissing("name"))
		want := "application/json"
		if problem {
			want = "application/problem+json"
		}
		equal(t, accept, w.Header().Get("Content-Type"), want)
		equal(t, accept, w.Header().Get("Vary"), "Accept")
		equal(t, accept, w.Code, 400)
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header["Accept"] = []string{"application/json;q=0.1", "application/problem+json;q=0.2"}
	w := httptest.NewRecorder()
	rd.Handler(apierror.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return apierror.CodeTimeout })).ServeHTTP(w, r)
	equal(t, "two lines", w.Header().Get("Content-Type"), "application/problem+json")

	w = write(quiet(), "application/problem+json", apierror.CodeTimeout.New())
	equal(t, "not switched on", w.Header().Get("Content-Type")+w.Header().Get("Vary"), "application/json")
}

func FuzzAccept(f *testing.F) {
	for _, accept := range []string{
		"*/*", "application/problem+json", "application/json;q=0.5, application/problem+json;q=0.6", "application/problem+json;q=1e-1",
		`text/x;a="\",b", application/problem+json`, ",;=\"", "application/problem+json;q=1.1.1;Q=\xff", "application/*;q=.2, */*;q=", `"\`,
	} {
		f.Add(accept, "application/json;q=0")
	}
	rd := quiet()
	rd.Problem = true
	h := rd.Handler(apierror.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return apierror.CodePermissionDenied }))
	f.Fuzz(func(t *testing.T, a, b string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header["Accept"] = []string{a, b}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		switch contentType := w.Header().Get("Content-Type"); contentType {
		case "application/json":
		case "application/problem+json":
			if !strings.Contains(strings.ToLower(a+b), contentType) {
				t.Errorf("problem details were not asked for: %q, %q", a, b)
			}
		default:
			t.Errorf("%q", contentType)
		}
		if !errors.Is(apierror.Parse(w.Result()), apierror.CodePermissionDenied) {
			t.Errorf("%s", w.Body)
		}
	})
}
