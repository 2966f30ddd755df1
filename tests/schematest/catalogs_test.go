package schematest_test

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/apierror/reference"
)

// catalogs are the names of the catalogs that the golden files of apierror/reference have.
var catalogs = []string{"builtin", "core", "custom", "hostile"}

// exported returns the export of a catalog.
func exported(t testing.TB, catalog string) []byte {
	t.Helper()
	export, err := os.ReadFile(filepath.Join("../../apierror/reference/testdata/golden", catalog, "errors.json"))
	require.NoError(t, err)
	return export
}

// render returns the reference of an export in a format.
func render(t testing.TB, export []byte, format reference.Format) []byte {
	t.Helper()
	docs, err := reference.Parse(export, nil)
	require.NoError(t, err)
	text, err := docs.Render(format)
	require.NoError(t, err)
	return text
}

// definitions returns the definitions in the export of a catalog.
func definitions(t testing.TB, catalog string) []apierror.Definition {
	t.Helper()
	var export struct {
		Codes []struct {
			Code      apierror.Code
			Type      apierror.Type
			Status    int
			Message   string
			Retryable bool
		}
	}
	require.NoError(t, json.Unmarshal(exported(t, catalog), &export))
	defs := make([]apierror.Definition, len(export.Codes))
	for i, c := range export.Codes {
		defs[i] = apierror.Definition{Code: c.Code, Type: c.Type, Status: c.Status, Message: c.Message}
		defs[i].NotRetryable = defs[i].Retryable() && !c.Retryable
	}
	require.NotEmpty(t, defs)
	return defs
}

// renderer returns the renderer of a service with a catalog.
func renderer(t testing.TB, catalog string) *apierror.Renderer {
	t.Helper()
	rd := &apierror.Renderer{Strict: catalog == "core", Logger: slog.New(slog.DiscardHandler)}
	var own []apierror.Definition
	for _, d := range definitions(t, catalog) {
		if _, builtin := apierror.DefaultCatalog().Lookup(d.Code); !builtin {
			own = append(own, d)
		}
	}
	var err error
	rd.Catalog, err = apierror.NewCatalog(own...)
	require.NoError(t, err)
	return rd
}

// send returns the response with which a service answers an error.
func send(rd *apierror.Renderer, err error) *http.Response {
	w := httptest.NewRecorder()
	fails := apierror.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return err })
	rd.Handler(fails).ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v1/payments", http.NoBody))
	return w.Result()
}

// body returns the body of a response.
func body(t testing.TB, resp *http.Response) []byte {
	t.Helper()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return text
}

// texts hold what breaks out of strings if it is not escaped, and what a renderer has to bound.
var texts = []string{
	"", " ", "x", "null", "\x00", "a\nb\r\nc\td", `"\`, "</script>", "a\u2028b\u2029c", "\u202eabc", "a\xff\xfeb\xed\xa0\x80", "é🙂",
	longText, longText + "\x80",
}

// longText is six times as long in JSON.
var longText = strings.Repeat("\x00", 1<<13)

// variants returns the errors that a service may make from a definition.
func variants(d apierror.Definition) []error {
	invalid := apierror.Field{Code: apierror.CodeParameterInvalid, Param: "items[1].price", Message: "Not a number."}
	list := []error{
		d, d.Code, d.New(), &d,
		d.Messagef("%w", errors.New("secret")),
		d.New().WithNotRetryable(),
		d.New().WithHeader("X-Own", "a"),
		errors.Join(errors.New("other"), d),
		errors.Join(apierror.ParameterMissing("a"), apierror.ParameterInvalid("b", "is too long"), d),
		errors.Join(d, apierror.ParameterMissing("a")),
		d.New().WithParam("a").WithField(invalid),
		d.New().WithField(invalid).WithField(apierror.Field{}),
	}
	for _, text := range texts {
		list = append(list,
			d.New().WithMessage(text),
			d.New().WithParam(text),
			d.New().WithMetadata(text, text).WithMetadata("b", "2"),
			d.New().WithParam("a").WithField(apierror.Field{Code: apierror.Code(text), Param: text, Message: text}),
			d.New().WithMessage(text).WithParam(text).WithField(invalid).WithMetadata("a", text),
		)
	}
	return append(list, largest(d))
}

// largest returns an error with more of everything than a renderer sends.
func largest(d apierror.Definition) *apierror.Error {
	e := d.New().WithMessage(longText).WithParam(longText)
	for range 120 {
		e = e.WithField(apierror.Field{Code: apierror.Code(longText), Param: longText, Message: longText})
	}
	for i := range 60 {
		e = e.WithMetadata(longText+string(rune('A'+i)), longText)
	}
	return e
}
