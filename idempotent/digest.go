package idempotent

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"hash"
	"io"
	"net/http"
	"strings"

	"github.com/seawall-go/seawall/apierror"
)

const headerDigest = "Content-Digest"

// errDigest is returned by Read in place of io.EOF if an upload does not match its
// Content-Digest.
var errDigest error = digestError{}

type digestError struct{}

func (digestError) Error() string {
	return "idempotent: the request body does not match its Content-Digest"
}

// As turns the error into the one for the client: 400 parameter_invalid.
func (digestError) As(target any) bool {
	e, ok := target.(**apierror.Error)
	if ok {
		*e = apierror.ParameterInvalid(headerDigest, "does not match the request body")
	}
	return ok
}

var errDigestSyntax = errors.New(
	"idempotent: the Content-Digest is not a dictionary, or one of its digests is malformed")

// FingerprintDigest is a [FingerprintFunc] for uploads. Two requests are the same if their
// Content-Digest fields (RFC 9530) have the same sha-512 digest or, if there is none, the
// same sha-256 digest.
//
// The handler reads the body directly from the client: it is not held in memory, and
// [Options].MaxBody does not bound it. If the body does not match its digest, the handler
// reads an error in place of io.EOF, and nothing is recorded. The handler should return this
// error as it is, which is answered 400 parameter_invalid. A handler that does not read to
// the end does not notice a mismatch.
//
// A malformed field is answered 400 parameter_invalid. If there is no field, or if it has
// only other algorithms, bodies are compared byte for byte.
func FingerprintDigest(r *http.Request, body func() ([]byte, error)) (Fingerprint, error) {
	d, err := parseDigest(r.Header.Values(headerDigest))
	if err != nil {
		return Fingerprint{}, apierror.ParameterInvalid(headerDigest, "is malformed").WithCause(err)
	}
	if d == nil {
		return FingerprintBody(r, body)
	}
	d.body, d.left = r.Body, r.ContentLength
	r.Body = d
	return fingerprintOf(r, d.algorithm, d.want), nil
}

// parseDigest parses the lines of a Content-Digest field, which together are one dictionary.
// If two members have the same key, the last one counts (RFC 8941, section 3.2). It returns
// nil if no algorithm is known.
func parseDigest(lines []string) (*digestReader, error) {
	digests := make(map[string][]byte)
	ok := parseDictionary(strings.Join(lines, ","), func(key string, value []byte) {
		if key == "sha-512" || key == "sha-256" {
			digests[key] = value
		}
	})
	if !ok {
		return nil, errDigestSyntax
	}
	var best *digestReader
	for algorithm, want := range digests {
		h := sha256.New()
		if algorithm == "sha-512" {
			h = sha512.New()
		}
		if len(want) != h.Size() {
			return nil, errDigestSyntax
		}
		if best == nil || h.Size() > best.hash.Size() {
			best = &digestReader{algorithm: algorithm, want: want, hash: h}
		}
	}
	return best, nil
}

// digestReader compares a body with its digest while the body is read.
type digestReader struct {
	algorithm string
	want      []byte
	hash      hash.Hash
	body      io.ReadCloser
	left      int64 // of the Content-Length; negative if that is not known
}

func (d *digestReader) Read(p []byte) (int, error) {
	n, err := d.body.Read(p)
	d.hash.Write(p[:n])
	d.left -= int64(n)
	// The digest is checked at the last byte and not only at the end, because a handler that
	// knows the length may stop there.
	if (err == io.EOF || err == nil && d.left == 0 && n > 0) && !bytes.Equal(d.hash.Sum(nil), d.want) {
		return 0, errDigest
	}
	return n, err
}

func (d *digestReader) Close() error { return d.body.Close() }
