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

// errDigest is what the handler of an upload reads in place of io.EOF if the body does not match
// its Content-Digest: see [FingerprintDigest]. A handler returns it as it is: it is answered with
// 400 parameter_invalid.
var errDigest error = digestError{}

type digestError struct{}

func (digestError) Error() string {
	return "idempotent: the request body does not match its Content-Digest"
}

// As makes the error the client's, for package apierror.
func (digestError) As(target any) bool {
	e, ok := target.(**apierror.Error)
	if ok {
		*e = apierror.ParameterInvalid(headerDigest, "does not match the request body")
	}
	return ok
}

var errDigestSyntax = errors.New(
	"idempotent: the Content-Digest is not a dictionary, or a digest in it is not of its type and length")

// FingerprintDigest is a [FingerprintFunc] for uploads. Two requests are the same if their
// Content-Digest fields (RFC 9530) have the same sha-512, or, where that is missing, the same
// sha-256.
//
// The handler then reads the body as it comes: it is not held in memory, and [Options].MaxBody
// does not bound it. It is compared with its digest on the way. If it does not match, the handler
// reads an error in place of the end, which it returns as it is: 400 parameter_invalid, and nothing is recorded. A handler that does not read to
// the end does not learn of a mismatch.
//
// A malformed field is refused with 400 parameter_invalid. Without a field, or with other
// algorithms only, the body counts byte for byte.
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

// parseDigest reads the lines of a Content-Digest field, which together are one dictionary. Of
// two members with the same key the last counts (RFC 8941, section 3.2). It returns nil if no
// member is of a known algorithm.
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

// digestReader is a body that is compared with its digest while it is read.
type digestReader struct {
	algorithm string
	want      []byte
	hash      hash.Hash
	body      io.ReadCloser
	left      int64 // of the content length; negative if that is unknown
}

func (d *digestReader) Read(p []byte) (int, error) {
	n, err := d.body.Read(p)
	d.hash.Write(p[:n])
	d.left -= int64(n)
	// At the last byte, not only at the end: a handler that knows the length may not look for the
	// end.
	if (err == io.EOF || err == nil && d.left == 0 && n > 0) && !bytes.Equal(d.hash.Sum(nil), d.want) {
		return 0, errDigest
	}
	return n, err
}

func (d *digestReader) Close() error { return d.body.Close() }
