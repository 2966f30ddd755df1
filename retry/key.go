package retry

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"strings"
)

const keyHeader = "Idempotency-Key"

// newKey returns a random UUID (RFC 9562, version 4).
func newKey() string {
	var b [16]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the program where the system has no randomness
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	var s [36]byte
	hex.Encode(s[0:8], b[0:4])
	hex.Encode(s[9:13], b[4:6])
	hex.Encode(s[14:18], b[6:8])
	hex.Encode(s[19:23], b[8:10])
	hex.Encode(s[24:36], b[10:16])
	s[8], s[13], s[18], s[23] = '-', '-', '-', '-'
	return string(s[:])
}

// isSafe tells whether a method only reads (RFC 9110, section 9.2.1), so that it needs no key.
func isSafe(method string) bool {
	switch method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return false
}

// takesKey tells whether a key is generated for a method. Another one, such as CONNECT or LOCK, may still carry the caller's.
func takesKey(method string) bool {
	switch method {
	case http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
		return true
	}
	return false
}

// callerKeys returns the caller's own Idempotency-Key lines, however the name is spelled, and whether there is such a field.
func callerKeys(h http.Header) (values []string, present bool) {
	if values, present = h[keyHeader]; present {
		return values, true
	}
	for name, values := range h {
		if strings.EqualFold(name, keyHeader) {
			return values, true
		}
	}
	return nil, false
}

// redirectedKey returns the key that the same write was sent with before, if req follows a redirect
// that keeps the method (307, 308). http.Client makes such a request of the caller's, which has no key.
func redirectedKey(req *http.Request) string {
	if req.Response == nil || req.Response.Request == nil || req.Response.Request.Method != req.Method {
		return ""
	}
	return req.Response.Request.Header.Get(keyHeader)
}
