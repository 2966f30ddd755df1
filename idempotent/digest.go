package idempotent

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"hash"
	"io"
	"net/http"
	"strings"

	"github.com/seawall-go/seawall/apierror"
)

const headerDigest = "Content-Digest"

// ErrDigest is what the handler of an upload reads in place of io.EOF when the body is not the one that its Content-Digest
// announced (see [FingerprintDigest]).
var ErrDigest = errors.New("idempotent: the request body does not match its Content-Digest")

// FingerprintDigest is for uploads: it takes the Content-Digest field (RFC 9530, sha-256 or sha-512) for the body, which
// then is not held in memory, nor bounded by [Options].MaxBody, but read by the handler as it comes. The digest is checked on
// the way, and the end of a body that does not match reads as [ErrDigest]; nothing is recorded then. A malformed
// field is refused; without one (or with other algorithms only) the body counts byte for byte.
func FingerprintDigest(r *http.Request, body func() ([]byte, error)) (Print, error) {
	d, err := parseDigest(r.Header.Values(headerDigest))
	if err != nil {
		return Print{}, apierror.ParameterInvalid(headerDigest, "is malformed").WithCause(err)
	}
	if d == nil {
		return FingerprintBody(r, body)
	}
	d.body, d.left = r.Body, r.ContentLength
	r.Body = d
	return PrintOf(r, append([]byte(d.algorithm+"="), d.want...)), nil
}

var errDigestSyntax = errors.New("idempotent: the Content-Digest is not a dictionary of byte sequences")

// parseDigest reads a Content-Digest field. It returns nil when there is none that is known.
func parseDigest(lines []string) (*digestReader, error) {
	var best *digestReader
	for member := range strings.SplitSeq(strings.Join(lines, ","), ",") {
		member = strings.Trim(member, " \t")
		if member == "" && len(lines) == 0 {
			break
		}
		algorithm, value, ok := strings.Cut(member, "=:")
		value, closed := strings.CutSuffix(value, ":")
		if !ok || !closed {
			return nil, errDigestSyntax
		}
		sum, err := base64.StdEncoding.DecodeString(value)
		if err != nil {
			return nil, errDigestSyntax
		}
		var h hash.Hash
		switch algorithm {
		case "sha-512":
			h = sha512.New()
		case "sha-256":
			h = sha256.New()
		default:
			continue
		}
		if len(sum) != h.Size() {
			return nil, errDigestSyntax
		}
		if best == nil || h.Size() > best.hash.Size() {
			best = &digestReader{algorithm: algorithm, want: sum, hash: h}
		}
	}
	return best, nil
}

// digestReader is a body that is checked while it is read.
type digestReader struct {
	algorithm string
	want      []byte
	hash      hash.Hash
	body      io.ReadCloser
	left      int64 // of the content length; negative is not known
}

func (d *digestReader) Read(p []byte) (int, error) {
	n, err := d.body.Read(p)
	d.hash.Write(p[:n])
	d.left -= int64(n)
	// At the last byte, not only at the end: a handler that knows the length may not look for the end.
	if (err == io.EOF || err == nil && d.left == 0 && n > 0) && !bytes.Equal(d.hash.Sum(nil), d.want) {
		return 0, ErrDigest
	}
	return n, err
}

func (d *digestReader) Close() error { return d.body.Close() }
