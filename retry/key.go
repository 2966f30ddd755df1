package retry

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"strings"
)

const keyHeader = "Idempotency-Key"

// Keys is who chooses the Idempotency-Key of a write: of a POST, PUT, PATCH or DELETE.
type Keys int

const (
	// KeysGenerated gives every write without a key a new one, the same for all of its
	// attempts.
	KeysGenerated Keys = iota
	// KeysCallerOnly sends no key but the caller's, from the request's header or from
	// [WithIdempotencyKey]. A write without one is sent once.
	KeysCallerOnly
)

// requestKey is the Idempotency-Key of a call.
type requestKey struct {
	sent       string // what the server gets, if anything
	add        string // the same, unless the caller's header has it already
	idempotent bool   // the request may arrive twice: it is a read, or a write with a key
}

// chooseKey finds or makes the key of a request. As in net/http, a field without a value
// marks the request as idempotent and is not sent. An empty value is not a key.
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

// isSafe reports whether a method only reads (RFC 9110, section 9.2.1), and needs no key.
func isSafe(method string) bool {
	switch method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	default:
		return false
	}
}

// takesKey reports whether a key is generated for a method. Other methods, such as LOCK,
// may still carry the caller's.
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

// redirectedKey returns the key that the write had before, if req follows a redirect that keeps
// the method (307, 308). http.Client makes such a request from the caller's, which has no key.
func redirectedKey(req *http.Request) string {
	if req.Response == nil || req.Response.Request == nil || req.Response.Request.Method != req.Method {
		return ""
	}
	return req.Response.Request.Header.Get(keyHeader)
}
