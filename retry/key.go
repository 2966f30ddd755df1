package retry

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"strings"
)

const keyHeader = "Idempotency-Key"

// Keys decides where the Idempotency-Key of a write (POST, PUT, PATCH, DELETE) comes
// from.
type Keys int

const (
	// KeysGenerated generates a key for every write that has none, the same for all
	// attempts of the write.
	KeysGenerated Keys = iota
	// KeysCallerOnly sends only the caller's key, from the request's header or from
	// [WithIdempotencyKey]. A write without a key is sent once, unless no connection
	// could be made.
	KeysCallerOnly
)

// requestKey is the Idempotency-Key of a call.
type requestKey struct {
	sent       string // the key that the server gets; empty if none
	add        string // the same, unless the caller's header has it already
	idempotent bool   // the request may arrive twice: it is a read, or a write with a key
}

// chooseKey finds or makes the key of a request. As in net/http, a header field with no
// values (an empty slice) makes the request idempotent and is not sent. An empty string
// is not a key.
func chooseKey(req *http.Request, fromContext string, keys Keys) requestKey {
	if isSafe(req.Method) {
		return requestKey{idempotent: true}
	}
	if lines, present := callerKeys(req.Header); present {
		if len(lines) == 0 {
			return requestKey{idempotent: true}
		}
		return requestKey{sent: lines[0], idempotent: lines[0] != ""}
	}
	key := fromContext
	if key == "" && keys == KeysGenerated && takesKey(req.Method) {
		key = redirectedKey(req)
		if key == "" {
			key = newKey()
		}
	}
	return requestKey{sent: key, add: key, idempotent: key != ""}
}

// newKey returns a random UUID (RFC 9562, version 4).
func newKey() string {
	var b [16]byte
	rand.Read(b[:]) // it never returns an error
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	s := hex.EncodeToString(b[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// isSafe reports whether a method only reads (RFC 9110, section 9.2.1). A read needs no
// key.
func isSafe(method string) bool {
	switch method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	default:
		return false
	}
}

// takesKey reports whether a key is generated for a method. Requests with other methods,
// such as LOCK, may still have a key of the caller.
func takesKey(method string) bool {
	switch method {
	case http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
		return true
	default:
		return false
	}
}

// callerKeys returns the caller's Idempotency-Key lines, whatever the case of the field's
// name, and whether there is such a field.
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

// redirectedKey returns the key of the previous request, if req follows a redirect that
// keeps the method (307, 308). http.Client copies the header of the caller's request,
// which does not have the generated key.
func redirectedKey(req *http.Request) string {
	if req.Response == nil || req.Response.Request == nil || req.Response.Request.Method != req.Method {
		return ""
	}
	return req.Response.Request.Header.Get(keyHeader)
}
