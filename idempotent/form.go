package idempotent

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

const (
	maxBoundary  = 70   // RFC 2046, section 5.1.1
	maxFormParts = 1000 // the limit of http.Request.ParseMultipartForm
)

// FingerprintForm is a [FingerprintFunc] for forms. Two requests are the same if they send
// the same form:
//
//   - application/x-www-form-urlencoded: the same names and values, however they are escaped.
//   - multipart/form-data (RFC 7578): the same parts, whatever the boundary. Parts are the same if
//     their contents and headers are. The order of header fields and the case of their names are
//     ignored.
//
// The order of fields with the same name is significant. The order of fields with different
// names is not, as in http.Request.PostForm. If the order of all fields matters to a handler,
// use [FingerprintBody].
//
// Any other body is compared byte for byte. So is one that cannot be parsed or has more than
// 1,000 parts. The request's form is left for the handler to parse.
func FingerprintForm(r *http.Request, body func() ([]byte, error)) (Fingerprint, error) {
	b, err := body()
	if err != nil {
		return Fingerprint{}, err
	}
	var form []byte
	var ok bool
	switch mediaType(r.Header) {
	case "application/x-www-form-urlencoded":
		form, ok = canonicalURLEncoded(b)
	case "multipart/form-data":
		form, ok = canonicalMultipart(b, r.Header.Get("Content-Type"))
	}
	if !ok {
		return FingerprintOf(r, b), nil
	}
	return fingerprintOf(r, "form", form), nil
}

// canonicalURLEncoded returns the same bytes for all spellings of a form.
func canonicalURLEncoded(b []byte) ([]byte, bool) {
	fields, err := url.ParseQuery(string(b))
	if err != nil {
		return nil, false
	}
	return []byte(fields.Encode()), true
}

// canonicalMultipart returns the hashes of the parts of a form, sorted by their names.
func canonicalMultipart(b []byte, contentType string) ([]byte, bool) {
	_, params, err := mime.ParseMediaType(contentType)
	boundary := params["boundary"] // NextRawPart refuses an empty one
	if err != nil || len(boundary) > maxBoundary {
		return nil, false
	}
	type part struct {
		name string
		sum  [sha256.Size]byte
	}
	var parts []part
	// NextRawPart returns io.EOF after the closing boundary, and also for a header that the
	// end of the input cuts short. The reader cutShort turns the latter into another error.
	// The line break completes the line of the closing boundary.
	in := io.MultiReader(bytes.NewReader(b), strings.NewReader("\r\n"), cutShort{})
	form := multipart.NewReader(in, boundary)
	buf := make([]byte, 4<<10)
	for {
		// NextPart would decode the part and hide how it was encoded.
		p, err := form.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || len(parts) == maxFormParts {
			return nil, false
		}
		sum, err := hashFormPart(p, buf)
		if err != nil {
			return nil, false
		}
		parts = append(parts, part{p.FormName(), sum})
	}
	slices.SortStableFunc(parts, func(a, b part) int { return cmp.Compare(a.name, b.name) })
	out := make([]byte, 0, len(parts)*sha256.Size)
	for _, p := range parts {
		out = append(out, p.sum[:]...) // includes the name, which is in the header
	}
	return out, true
}

// cutShort fails like a body that ends in the middle of a form.
type cutShort struct{}

func (cutShort) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// hashFormPart hashes the header and the content of a part. It reads the content through buf.
func hashFormPart(p *multipart.Part, buf []byte) (sum [sha256.Size]byte, err error) {
	var header []byte
	for _, name := range slices.Sorted(maps.Keys(p.Header)) {
		for _, value := range p.Header[name] {
			header = appendPart(appendPart(header, name), value)
		}
	}
	h := sha256.New()
	h.Write(appendPart(nil, string(header)))
	_, err = io.CopyBuffer(h, p, buf)
	h.Sum(sum[:0])
	return sum, err
}
