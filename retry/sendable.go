package retry

import (
	"cmp"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
)

// sendable reports whether a request that failed with err is valid. The caller's mistakes
// must not count against the host. net/http's errors for them have no types, so sendable
// checks the request itself and the error's text.
func sendable(req *http.Request, err error) bool {
	if !isToken(cmp.Or(req.Method, http.MethodGet)) || !areFields(req.Header) || !areFields(req.Trailer) {
		return false
	}
	if _, malformed := errors.AsType[*net.AddrError](err); malformed {
		return false // the URL's host and port are not valid
	}
	text := err.Error()
	scheme := req.URL.Scheme
	if scheme != "http" && scheme != "https" { // only the base transport knows which others it has
		return !strings.Contains(text, "unsupported protocol scheme "+strconv.Quote(scheme))
	}
	return req.URL.Host != "" && writable(req) && !refusedByHTTP2(text) &&
		!strings.Contains(text, "http: nil Request.Header")
}

// writable reports whether net/http can write the request's first lines. It cannot if the
// URL has a control character, if Host is invalid, or if there is a length without a body.
func writable(req *http.Request) bool {
	dry := http.Request{Method: req.Method, URL: req.URL, Host: req.Host, Header: make(http.Header)}
	if req.Body == nil {
		dry.ContentLength = req.ContentLength
	}
	return dry.Write(io.Discard) == nil
}

// refusedByHTTP2 reports whether text is the text of an error for a request that cannot
// be sent over HTTP/2, because it has a field such as Upgrade, or a header larger than
// the server accepts.
func refusedByHTTP2(text string) bool {
	return strings.Contains(text, "http2: invalid ") ||
		strings.Contains(text, "http2: request header list larger than peer's advertised limit")
}

// areFields reports whether all names and values of h are valid.
func areFields(h http.Header) bool {
	for name, values := range h {
		if !isToken(name) {
			return false
		}
		for _, v := range values {
			if !isFieldValue(v) {
				return false
			}
		}
	}
	return true
}

// isToken reports whether s is a token (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	const delimiters = `"(),/:;<=>?@[\]{}`
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(delimiters, r)
	})
}

// isFieldValue reports whether s is free of control characters other than the tab (RFC 9110,
// section 5.5).
func isFieldValue(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}
