package reference_test

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/apierror/reference"
)

func TestExampleBodyIsWhatRendererSends(t *testing.T) {
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
				if got := examples[d.Code]; !slices.Equal(tokens(t, got), tokens(t, body)) {
					t.Errorf("%s:\n%s\nbut the renderer sends\n%s", d.Code, got, body)
				}
			}
		})
	}
}

// tokens returns what JSON is made of, however it is indented and escaped.
func tokens(t *testing.T, text string) (list []json.Token) {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(text))
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, token)
	}
}
