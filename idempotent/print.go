package idempotent

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"net/http"
	"strings"
)

// A Print is the hash of what makes two requests the same. A key that comes with another print is refused with 409
// idempotency_conflict.
type Print [32]byte

// String returns the print in hexadecimal: 64 characters.
func (p Print) String() string { return hex.EncodeToString(p[:]) }

// A FingerprintFunc computes a request's print. It is [Options].Fingerprint; this package has three:
//
//   - [FingerprintBody], the default: the body's bytes
//   - [FingerprintJSON]: JSON bodies apart from white space and the order of members
//   - [FingerprintDigest]: for uploads, the Content-Digest field, so that the body need not be held in memory
//
// The function body reads the request's body into memory, at most [Options].MaxBody bytes, and may be called again. When it is
// not called the handler reads from the client directly; a body that then ends in an error is never recorded, whatever the
// handler answers. An error is answered by apierror.Write, before anything is recorded.
type FingerprintFunc func(r *http.Request, body func() ([]byte, error)) (Print, error)

// PrintOf returns the print of a request whose content is taken to be the given bytes, for functions of one's own. The
// method, the escaped path, the raw query and the media type (without its parameters) are part of it.
func PrintOf(r *http.Request, content []byte) Print {
	b := make([]byte, 0, 512)
	b = appendPart(b, r.Method)
	b = appendPart(b, r.URL.EscapedPath())
	b = appendPart(b, r.URL.RawQuery)
	b = appendPart(b, mediaType(r.Header))
	b = binary.BigEndian.AppendUint64(b, uint64(len(content)))
	h := sha256.New()
	h.Write(b)
	h.Write(content)
	return Print(h.Sum(b[:0]))
}

// FingerprintBody takes two requests for the same when their bodies are, byte for byte.
func FingerprintBody(r *http.Request, body func() ([]byte, error)) (Print, error) {
	b, err := body()
	if err != nil {
		return Print{}, err
	}
	return PrintOf(r, b), nil
}

func mediaType(h http.Header) string {
	t, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(t))
}
