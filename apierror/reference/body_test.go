package reference_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/apierror/reference"
)

func TestExampleBodyIsWhatTheRendererSends(t *testing.T) {
	t.Parallel()
	const requestID = "req_Hd92kLpQ7mXw3TzB"
	long := apierror.MustCatalog(apierror.Definition{
		Code: "long", Type: apierror.TypeAPI, Status: 500, Message: strings.Repeat("é<", 4096),
	})
	for name, catalog := range map[string]*apierror.Catalog{
		"builtin": catalogs["builtin"], "custom": catalogs["custom"], "hostile": catalogs["hostile"], "long": long,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			examples := reference.BodiesOfExamples(reference.New(catalog, nil))
			for _, d := range catalog.Definitions() {
				e := d.New()
				if d.Code == apierror.CodeParameterMissing || d.Code == apierror.CodeParameterInvalid {
					e = e.WithParam("name")
				}
				w := httptest.NewRecorder()
				fails := apierror.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return e })
				rd := &apierror.Renderer{Catalog: catalog, Logger: slog.New(slog.DiscardHandler)}
				rd.Handler(fails).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", http.NoBody))
				body := strings.ReplaceAll(w.Body.String(), w.Header().Get("Request-Id"), requestID)
				body = strings.ReplaceAll(body, `\ufffd`, "\ufffd") // the renderer escapes what was invalid
				var want bytes.Buffer
				if err := json.Indent(&want, []byte(strings.TrimSuffix(body, "\n")), "", "  "); err != nil {
					t.Fatal(err)
				}
				if got := examples[d.Code]; got != want.String() {
					t.Errorf("%s:\n%s\nbut the renderer sends\n%s", d.Code, got, want.String())
				}
			}
		})
	}
}
