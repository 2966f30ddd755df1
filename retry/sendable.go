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

// sendable reports whether the request could be sent at all, after it failed with err. net/http
// says so with errors that have no type, and what the caller got wrong must not count against
// the host.
func sendable(req *http.Request, err error) bool {
	if !isToken(cmp.Or(req.Method, http.MethodGet)) || !areFields(req.Header) || !areFields(req.Trailer) {
		return false
	}
	if _, malformed := errors.AsType[*net.AddrError](err); malformed {
		return false // of the URL's host and port
	}
	text := err.Error()
	switch scheme := req.URL.Scheme; scheme {
	case "http", "https":
		return req.URL.Host != "" && writable(req) && !refusedByHTTP2(text) && !strings.Contains(text, "http: nil Request.Header")
	default: // see RegisterProtocol: only the base transport knows what another scheme allows
		return !strings.Contains(text, "unsupported protocol scheme "+strconv.Quote(scheme))
	}
}

// writable reports whether net/http can write the request's first lines: not with a control
// character in the URL, an invalid Host, or a length without a body.
func writable(req *http.Request) bool {
	dry := http.Request{Method: req.Method, URL: req.URL, Host: req.Host, Header: make(http.Header)}
	if req.Body == nil {
		dry.ContentLength = req.ContentLength
	}
	return dry.Write(io.Discard) == nil
}

// refusedByHTTP2 reports whether an error is what net/http says of a request that HTTP/2 cannot
// carry: with a header such as Upgrade, or with more of a header than the server takes.
func refusedByHTTP2(text string) bool {
	return strings.Contains(text, "http2: invalid ") ||
		strings.Contains(text, "http2: request header list larger than peer's advertised limit")
}

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

// isToken is RFC 9110, section 5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// isFieldValue is RFC 9110, section 5.5: no control characters but the tab.
func isFieldValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}
