package idempotent

import (
	"crypto/sha256"
	"encoding/binary"
	"net/http"
	"strings"
)

// A FingerprintFunc computes the fingerprint of a request, for [Options].Fingerprint. This
// package has [FingerprintBody] (the default), [FingerprintJSON], [FingerprintForm], and
// [FingerprintDigest] for uploads. All of them also compare the method, the path, the query
// and the media type: see [FingerprintOf].
//
// The function body reads the request's body into memory, at most [Options].MaxBody bytes. It
// can be called more than once. If it is not called, the handler reads directly from the
// client. If such a read fails, nothing is recorded. A FingerprintFunc must neither read
// r.Body itself nor change the bytes.
//
// If a FingerprintFunc returns an error, the request is answered with that error
// (apierror.Write) and nothing is recorded.
type FingerprintFunc func(r *http.Request, body func() ([]byte, error)) (Fingerprint, error)

// FingerprintOf returns the fingerprint of a request with the given content in place of its
// body, for your own [FingerprintFunc]. The fingerprint also covers the method, the escaped
// path, the raw query and the media type without its parameters.
func FingerprintOf(r *http.Request, content []byte) Fingerprint {
	return fingerprintOf(r, "", content)
}

// fingerprintOf is FingerprintOf for content that was derived from the body. The kind keeps
// it apart from a body with the same bytes.
func fingerprintOf(r *http.Request, kind string, content []byte) Fingerprint {
	b := make([]byte, 0, 512)
	b = appendPart(b, r.Method)
	b = appendPart(b, r.URL.EscapedPath())
	b = appendPart(b, r.URL.RawQuery)
	b = appendPart(b, mediaType(r.Header))
	b = appendPart(b, kind)
	b = binary.BigEndian.AppendUint64(b, uint64(len(content)))
	h := sha256.New()
	h.Write(b)
	h.Write(content)
	return Fingerprint(h.Sum(b[:0]))
}

// FingerprintBody is the default [FingerprintFunc]. Two requests are the same if their bodies
// are equal byte for byte.
func FingerprintBody(r *http.Request, body func() ([]byte, error)) (Fingerprint, error) {
	b, err := body()
	if err != nil {
		return Fingerprint{}, err
	}
	return FingerprintOf(r, b), nil
}

// mediaType returns the media type of a body in lower case, without its parameters.
func mediaType(h http.Header) string {
	t, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(t))
}
