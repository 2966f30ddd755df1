package reference

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seawall-go/seawall/apierror"
)

// file is a format of a reference as it is served.
type file struct {
	format      Format
	name        string
	contentType string
	load        func() (content []byte, etag string)
}

// newFile returns the file of an output. It is rendered when it is first loaded.
func newFile(r *Reference, o output) file {
	return file{o.format, o.file, o.contentType, sync.OnceValues(func() ([]byte, string) {
		content := o.render(r)
		sum := sha256.Sum256(content)
		return content, `"` + base64.RawURLEncoding.EncodeToString(sum[:]) + `"`
	})}
}

// ServeHTTP serves the page, or another [Format] if the query names one, such as ?format=json. It
// ignores the rest of the query, and the path: with a pattern that ends in a slash, such as
// "/docs/", it serves the page for every path below. For a method other than GET and HEAD, the
// error is method_not_allowed. For an unknown format, it is parameter_invalid.
//
// Responses have an ETag, and caches must revalidate them. The Content-Security-Policy forbids
// everything but the page's own style and script.
func (r *Reference) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		apierror.Write(w, req, apierror.MethodNotAllowed(http.MethodGet, http.MethodHead))
		return
	}
	f, err := r.requested(req)
	if err != nil {
		apierror.Write(w, req, err)
		return
	}
	content, etag := f.load()
	h := w.Header()
	h.Set("Content-Type", f.contentType)
	h.Set("Content-Disposition", `inline; filename="`+f.name+`"`)
	h.Set("Content-Security-Policy", pagePolicy+"; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-cache")
	h.Set("Etag", etag)
	http.ServeContent(&contentWriter{ResponseWriter: w, req: req}, req, "", time.Time{}, bytes.NewReader(content))
}

// contentWriter makes error objects of the refusals of http.ServeContent.
type contentWriter struct {
	http.ResponseWriter
	req     *http.Request
	refused bool
}

func (w *contentWriter) WriteHeader(status int) {
	switch status {
	case http.StatusRequestedRangeNotSatisfiable:
		w.refuse(apierror.ParameterInvalid("Range", "must be a range of the document"))
	case http.StatusPreconditionFailed:
		w.refuse(apierror.ParameterInvalid("If-Match", "must be the ETag of the document"))
	default:
		w.ResponseWriter.WriteHeader(status)
	}
}

func (w *contentWriter) refuse(err error) {
	w.refused = true
	apierror.Write(w.ResponseWriter, w.req, err)
}

func (w *contentWriter) Write(p []byte) (int, error) {
	if w.refused {
		return len(p), nil
	}
	return w.ResponseWriter.Write(p)
}

// requested returns the file that a request asks for.
func (r *Reference) requested(req *http.Request) (file, error) {
	formats, ok := req.URL.Query()["format"]
	if !ok {
		formats = []string{string(FormatHTML)}
	}
	i := slices.IndexFunc(r.files, func(f file) bool { return string(f.format) == formats[0] })
	if i < 0 || len(formats) > 1 {
		names := strings.Trim(fmt.Sprint(Formats()), "[]")
		return file{}, apierror.ParameterInvalid("format", "must be one of "+strings.ReplaceAll(names, " ", ", "))
	}
	return r.files[i], nil
}
