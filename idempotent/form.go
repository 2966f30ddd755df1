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
	maxFormParts = 1000 // as many as http.Request.ParseMultipartForm takes
)

// FingerprintForm is a [FingerprintFunc]. Two requests are the same if they send the same form:
//
//   - application/x-www-form-urlencoded: the same names and values, however they are escaped.
//   - multipart/form-data (RFC 7578): the same parts, whatever the boundary. A part is its header
//     and the SHA-256 of its content, so names, values, file names, content types and files
//     count. The header counts as it is written, but for the order of its fields and the case of
//     their names.
//
// The order of fields with different names does not count, and that of fields with the same name
// does, as in http.Request.PostForm. A handler for which the order of all fields matters needs
// [FingerprintBody].
//
// Any other body counts byte for byte, and so does one that cannot be parsed, or has more than
// 1,000 parts. The request's form is not parsed: the handler does that itself.
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

// canonicalMultipart returns the hashes of a form's parts, in the order of their names.
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
	// The end of the input is no io.EOF, which NextRawPart also returns for a header that is cut
	// short. So it is one only after the closing boundary, whose line the line break completes.
	in := io.MultiReader(bytes.NewReader(b), strings.NewReader("\r\n"), cutShort{})
	form := multipart.NewReader(in, boundary)
	buf := make([]byte, 4<<10)
	for {
		// A raw part, because a decoded one no longer shows how it was encoded.
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
		out = append(out, p.sum[:]...) // the name is in it, as a part of the header
	}
	return out, true
}

// cutShort is the end of a body in the middle of a form.
type cutShort struct{}

func (cutShort) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// hashFormPart hashes a part's header and content. It reads the content through buf.
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
