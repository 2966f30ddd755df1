package apierror

import (
	"bufio"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"

	"github.com/seawall-go/seawall/internal/plain"
)

// badForm returns what is wrong with a form if err, one node of a tree, is an error from
// reading it: of ParseForm, ParseMultipartForm or MultipartReader, or of a package below
// them. It is nil for any other error.
//
// A bare io.ErrUnexpectedEOF may be the client's fault or a dependency's, so badForm
// returns nil for it, and Write finds out whose it is.
func badForm(err error) *Error {
	switch t := err.(type) {
	case url.EscapeError:
		return CodeParameterInvalid.Messagef("The form or query is malformed.")
	case *http.ProtocolError: //nolint:staticcheck // the type of ErrNotMultipart
		switch t {
		case http.ErrNotMultipart:
			return UnsupportedMediaType("multipart/form-data")
		case http.ErrMissingBoundary:
			return noBoundary()
		}
		return nil
	case textproto.ProtocolError:
		if strings.HasPrefix(string(t), "malformed MIME header") {
			return malformedParts()
		}
		return nil
	case interface{ Unwrap() []error }:
		return nil
	case interface{ Unwrap() error }:
		if endedEarly(t.Unwrap()) && strings.HasPrefix(plain.ErrorText(err), "multipart: NextPart: ") {
			return malformedParts()
		}
		return nil
	}
	switch err {
	case multipart.ErrMessageTooLarge: //nolint:errorlint // walk unwraps
		return RequestTooLarge(0)
	case http.ErrMissingFile:
		return CodeParameterMissing.Messagef("A required file is missing.")
	case mime.ErrInvalidMediaParameter:
		return badContentType()
	}
	return badFormText(plain.ErrorText(err))
}

// badFormText is badForm for the errors that are known only by their text.
func badFormText(text string) *Error {
	switch text {
	case "invalid semicolon separator in query":
		return CodeParameterInvalid.Messagef("The form or query is malformed.")
	case "number of URL query parameters exceeded limit":
		return CodeParameterInvalid.Messagef("The form or query has too many parameters.")
	case "http: POST too large":
		return RequestTooLarge(10 << 20)
	case "missing form body":
		return CodeParameterMissing.Messagef("The request body is empty.")
	case "mime: no media type", "mime: expected slash after first token", "mime: expected token after slash",
		"mime: unexpected content after media subtype", "mime: duplicate parameter name":
		return badContentType()
	case "multipart: boundary is empty":
		return noBoundary()
	}
	for _, beginning := range []string{
		"multipart: expecting a new Part; got line ",
		"multipart: unexpected line in Next(): ",
		"quotedprintable: invalid ",
	} {
		if strings.HasPrefix(text, beginning) {
			return malformedParts()
		}
	}
	return nil
}

// endedEarly reports whether the cause of a multipart reader's error is that the body ended
// before its last part.
func endedEarly(cause error) bool {
	return cause == io.EOF || cause == io.ErrUnexpectedEOF || cause == bufio.ErrBufferFull //nolint:errorlint // not deeper
}

func malformedParts() *Error {
	return CodeParameterInvalid.Messagef("The multipart form is malformed.")
}

func noBoundary() *Error {
	return CodeParameterInvalid.Messagef("The Content-Type has no boundary.").WithParam("Content-Type")
}

func badContentType() *Error {
	return CodeParameterInvalid.Messagef("The Content-Type is malformed.").WithParam("Content-Type")
}
