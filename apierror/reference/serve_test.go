package reference_test

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/apierror/reference"
)

// serve returns the response of docs to a request.
func serve(docs http.Handler, method, target string, header ...string) *http.Response {
	r := httptest.NewRequest(method, target, http.NoBody)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	docs.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, resp *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestEachFormatIsServed(t *testing.T) {
	t.Parallel()
	docs := reference.New(nil, nil)
	for _, format := range reference.Formats() {
		t.Run(string(format), func(t *testing.T) {
			t.Parallel()
			want, err := docs.Render(format)
			if err != nil {
				t.Fatal(err)
			}
			targets := []string{"/docs/errors?format=" + string(format), "/?a=%3Cb%3E&format=" + string(format) + "&%zz"}
			if format == reference.FormatHTML {
				targets = append(targets, "/", "/docs/errors", "/docs/errors/", "/?a=json&Format=json&%zz;=")
			}
			for _, target := range targets {
				resp := serve(docs, http.MethodGet, target)
				if got := body(t, resp); resp.StatusCode != http.StatusOK || got != string(want) {
					t.Errorf("GET %s: %s, %d bytes", target, resp.Status, len(got))
				}
				for key, want := range map[string]string{
					"Content-Disposition":    `inline; filename="` + format.FileName() + `"`,
					"X-Content-Type-Options": "nosniff",
					"Referrer-Policy":        "no-referrer",
					"Cache-Control":          "no-cache",
				} {
					if got := resp.Header.Get(key); got != want {
						t.Errorf("GET %s: %s: %s", target, key, got)
					}
				}
				if got := resp.Header.Get("Content-Type"); got == "" || strings.HasPrefix(got, "text/html") != (format == reference.FormatHTML) {
					t.Errorf("GET %s: Content-Type: %s", target, got)
				}
				policy := resp.Header.Get("Content-Security-Policy")
				if !strings.HasPrefix(policy, "default-src 'none';") || !strings.HasSuffix(policy, "; frame-ancestors 'none'") {
					t.Errorf("GET %s: Content-Security-Policy: %s", target, policy)
				}
			}
		})
	}
}

func TestUnchangedFormatsAreNotSentAgain(t *testing.T) {
	t.Parallel()
	docs, same, other := reference.New(nil, nil), reference.New(nil, nil), reference.New(apierror.CoreCatalog(), nil)
	seen := make(map[string]bool)
	for _, format := range reference.Formats() {
		target := "/?format=" + string(format)
		etag := serve(docs, http.MethodGet, target).Header.Get("Etag")
		if seen[etag] || !regexp.MustCompile(`^"[\w-]{43}"$`).MatchString(etag) {
			t.Errorf("%s: ETag %s", format, etag)
		}
		seen[etag] = true
		resp := serve(same, http.MethodGet, target, "If-None-Match", `"x", W/`+etag)
		if got := body(t, resp); resp.StatusCode != http.StatusNotModified || got != "" || resp.Header.Get("Etag") != etag {
			t.Errorf("%s, unchanged: %s, %d bytes", format, resp.Status, len(got))
		}
		if resp := serve(other, http.MethodGet, target, "If-None-Match", etag); resp.StatusCode != http.StatusOK {
			t.Errorf("%s, changed: %s", format, resp.Status)
		}
	}
}

func TestHEADAndRangesAreServed(t *testing.T) {
	t.Parallel()
	docs := reference.New(nil, nil)
	page := body(t, serve(docs, http.MethodGet, "/"))
	resp := serve(docs, http.MethodHead, "/")
	if got := body(t, resp); resp.StatusCode != http.StatusOK || got != "" || resp.ContentLength != int64(len(page)) {
		t.Errorf("HEAD: %s, %d bytes, Content-Length %d", resp.Status, len(got), resp.ContentLength)
	}
	resp = serve(docs, http.MethodGet, "/", "Range", "bytes=5-9")
	if got := body(t, resp); resp.StatusCode != http.StatusPartialContent || got != page[5:10] {
		t.Errorf("a range: %s, %q", resp.Status, got)
	}
}

func TestRefusedConditionsAreErrorObjects(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]string{"Range": "bytes=99999999-", "If-Match": `"x"`} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			resp := serve(reference.New(nil, nil), method, "/", name, value)
			err := apierror.Parse(resp)
			if resp.StatusCode != http.StatusBadRequest || resp.Header.Get("Content-Type") != "application/json" || resp.Header.Get("Etag") != "" {
				t.Errorf("%s %s: %s, %v", method, name, resp.Status, resp.Header)
			}
			if e, ok := errors.AsType[*apierror.Error](err); method == http.MethodGet && (!ok || e.Param() != name) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestOtherMethodsAreRefused(t *testing.T) {
	t.Parallel()
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, "get", "X"} {
		resp := serve(reference.New(nil, nil), method, "/?format=json")
		err := apierror.Parse(resp)
		if resp.StatusCode != http.StatusMethodNotAllowed || apierror.CodeOf(err) != apierror.CodeMethodNotAllowed || resp.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %s, %v, Allow: %s", method, resp.Status, err, resp.Header.Get("Allow"))
		}
	}
}

func TestUnknownFormatsAreRefused(t *testing.T) {
	t.Parallel()
	for _, query := range []string{
		"format=", "format", "format=JSON", "format=xml", "format=json+", "format=../json", "format=%3Cscript%3Ealert(1)",
		"format=json&format=json", "format=html&a&format=json",
	} {
		resp := serve(reference.New(nil, nil), http.MethodGet, "/?"+query)
		text := body(t, resp)
		if resp.StatusCode != http.StatusBadRequest || !strings.Contains(text, `"code":"parameter_invalid","message":"Invalid parameter: format must be one of html, `) ||
			!strings.Contains(text, `"param":"format"`) || strings.Contains(text, "alert") || resp.Header.Get("Etag") != "" {
			t.Errorf("%s: %s\n%s", query, resp.Status, text)
		}
	}
}

// A compressor and the response tracker of a Renderer stand between the page and net/http.
func TestPageIsServedThroughOtherWriters(t *testing.T) {
	t.Parallel()
	docs := reference.New(nil, nil)
	server := httptest.NewServer((&apierror.Renderer{}).Handler(compressed((&apierror.Renderer{}).Handler(docs))))
	t.Cleanup(server.Close)
	want, _ := docs.Render(reference.FormatHTML)
	for range 2 {
		resp, err := server.Client().Get(server.URL) // the client decompresses the body
		if err != nil {
			t.Fatal(err)
		}
		if got := body(t, resp); got != string(want) || !resp.Uncompressed {
			t.Errorf("%s, %d bytes, compressed: %t", resp.Status, len(got), resp.Uncompressed)
		}
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
	}
}

func compressed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		next.ServeHTTP(compressingWriter{w, z}, r)
		_ = z.Close()
	})
}

type compressingWriter struct {
	http.ResponseWriter
	z *gzip.Writer
}

func (w compressingWriter) Write(p []byte) (int, error) { return w.z.Write(p) }

func TestPolicyAllowsOnlyStyleAndScript(t *testing.T) {
	t.Parallel()
	for name, catalog := range catalogs {
		docs := reference.New(catalog, nil)
		page := body(t, serve(docs, http.MethodGet, "/"))
		header := serve(docs, http.MethodGet, "/").Header.Get("Content-Security-Policy")
		want := "default-src 'none'; style-src " + hashOf(t, page, "style") + "; script-src " + hashOf(t, page, "script") +
			"; img-src data:; base-uri 'none'; form-action 'none'"
		if header != want+"; frame-ancestors 'none'" {
			t.Errorf("%s: the header is\n%s\ninstead of\n%s", name, header, want)
		}
		meta := `<meta http-equiv="Content-Security-Policy" content="` + strings.NewReplacer("'", "&#39;", "+", "&#43;").Replace(want) + `">`
		if i := strings.Index(page, meta); i < 0 || i > strings.Index(page, "<style>") {
			t.Errorf("%s: the page does not have %s before its style", name, meta)
		}
	}
}

// A browser has none of them when it hashes the text.
func TestPolicyIgnoresCarriageReturnsOfLineEnds(t *testing.T) {
	t.Parallel()
	const want = "'sha256-kRFp3arxRq/1OfWMJsSJrzuJLf8P4oPBwmTGWuWqWaI='" // of "a\nb\n"
	for _, text := range []string{"a\nb\n", "a\r\nb\r\n"} {
		if got := reference.HashSource(text); got != want {
			t.Errorf("%q: %s", text, got)
		}
	}
}

// hashOf returns the hash source of the only element with a name.
func hashOf(t *testing.T, page, element string) string {
	t.Helper()
	found := regexp.MustCompile(`(?s)<`+element+`>(.*?)</`+element+`>`).FindAllStringSubmatch(page, -1)
	if len(found) != 1 || strings.Count(page, "<"+element) != 1 {
		t.Fatalf("there are %d elements %s", len(found), element)
	}
	sum := sha256.Sum256([]byte(found[0][1]))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}
