package apierror

import (
	"cmp"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/seawall-go/seawall/internal/retryhint"
	"github.com/seawall-go/seawall/internal/track"
)

// setHeader makes h the header of an error's response. What the handler has set stays, unless it
// describes the body, or the error has its own value.
func (rd *Renderer) setHeader(h http.Header, e *Error, encoded, problem bool) {
	for key, own := range e.details().header {
		if key != "Content-Encoding" {
			h[key] = slices.Clone(own)
		}
	}
	for key := range h {
		if describesBody(key) || key == "Content-Encoding" && !encoded {
			delete(h, key)
		}
	}
	values := make([]string, 0, 6)
	set := func(key, value string) { // like h.Set, but all values share an array
		values = append(values, value)
		h[key] = values[len(values)-1 : len(values) : len(values)]
	}
	if problem {
		set("Content-Type", "application/problem+json")
	} else {
		set("Content-Type", "application/json")
	}
	set("Cache-Control", "no-store")
	set("X-Content-Type-Options", "nosniff")
	set("Request-Id", e.requestID)
	h["X-Request-Id"] = h["Request-Id"]
	setRetry(h, e, set)
	switch {
	case e.status == http.StatusUnauthorized && h["Www-Authenticate"] == nil:
		set("Www-Authenticate", cmp.Or(rd.Challenge, "Bearer"))
	case e.status == http.StatusMethodNotAllowed && h["Allow"] == nil:
		set("Allow", "") // required by RFC 9110, section 15.5.6
	}
	if rd.Problem {
		h.Add("Vary", "Accept")
	}
}

// setRetry sets X-Should-Retry and Retry-After so that they never contradict each other, whatever
// the handler has set.
func setRetry(h http.Header, e *Error, set func(key, value string)) {
	if !e.Retryable() {
		set("X-Should-Retry", "false")
		delete(h, "Retry-After")
		return
	}
	delete(h, "X-Should-Retry") // true is never sent
	switch {
	case e.retryAfter > 0:
		set("Retry-After", retryhint.FormatAfter(e.retryAfter))
	case h["Retry-After"] != nil:
	case e.status == http.StatusTooManyRequests, e.status == http.StatusServiceUnavailable:
		set("Retry-After", "1")
	}
}

// describesBody reports whether a header describes the body of a success.
func describesBody(key string) bool {
	switch key {
	case "Accept-Ranges", "Content-Digest", "Content-Disposition", "Content-Language", "Content-Length", "Content-Location",
		"Content-Md5", "Content-Range", "Digest", "Etag", "Expires", "Last-Modified", "Repr-Digest", "Surrogate-Control",
		"Trailer", "Transfer-Encoding":
		return true
	}
	return strings.HasSuffix(key, "Cache-Control") // CDN-Cache-Control and its like (RFC 9213)
}

// encoded reports whether a Content-Encoding in the header is that of a writer further out,
// which encodes the body. A tracker knows what the header held before the handler could set
// anything. Without a tracker, net/http's own writers are known to encode nothing, and any
// other writer may encode.
func encoded(w http.ResponseWriter, t *track.Response) bool {
	if t != nil {
		return t.Encoded()
	}
	if w.Header()["Content-Encoding"] == nil {
		return false
	}
	typ := reflect.TypeOf(w)
	if typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	switch typ.PkgPath() {
	case "net/http", "net/http/httptest", "net/http/internal/http2", "golang.org/x/net/http2":
		return false
	}
	return true
}
