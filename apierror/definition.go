package apierror

import (
	"errors"
	"fmt"
)

// Definition defines a code: its type, its status and its default message. A service defines its
// own codes as package variables, returns them or makes errors from them, and gives them to
// [NewCatalog]:
//
//	var CardDeclined = apierror.Definition{
//		Code: "card_declined", Type: apierror.TypeInvalidRequest, Status: 402,
//		Message: "The card was declined.",
//	}
//
//	return CardDeclined // it is an error itself, with the default message
//	return CardDeclined.Messagef("The card was declined: %s.", reason)
//
// errors.Is(err, CardDeclined) holds for both, and for the error that a client has parsed.
type Definition struct {
	Code        Code   // ^[a-z][a-z0-9_]{0,62}$
	Type        Type   // one of the six
	Status      int    // 400 to 599
	Message     string // the default message, for the client's developer
	Description string // when the code occurs, for the reference page; may be empty
	Resolution  string // what the client can do about it, for the reference page; may be empty

	// NotRetryable tells clients not to retry, even though they retry the status (429, or a
	// 5xx other than 501) by default. The response then has X-Should-Retry: false, like
	// responses with any other status.
	NotRetryable bool
}

// Error returns the code as it is on the wire.
func (d Definition) Error() string { return string(d.Code) }

// Is reports whether target is the definition's [Type], its [Code] or a Definition of it, for
// errors.Is.
func (d Definition) Is(target error) bool { return d.New().Is(target) }

// New returns an error of this definition with its default message.
func (d Definition) New() *Error {
	return &Error{code: d.Code, typ: d.Type, status: d.Status, message: d.Message, notRetryable: d.NotRetryable}
}

// Messagef returns an error of this definition with a public message, like [Code.Messagef].
func (d Definition) Messagef(format string, args ...any) *Error {
	e := d.New()
	e.message, e.cause = publicText(format, args)
	return e
}

// Retryable reports whether a retry of the same request may have another result: the status is
// 429 or a 5xx other than 501, and NotRetryable is false.
func (d Definition) Retryable() bool { return d.New().Retryable() }

// Validate returns an error that names everything that is wrong with the definition: a malformed
// code, an unknown type, a status that is not 4xx or 5xx, or a missing message. [NewCatalog] does
// the same for each definition.
func (d Definition) Validate() error {
	var faults []error
	for _, fault := range d.faults() {
		faults = append(faults, fmt.Errorf("apierror: the code %q %s", truncate(string(d.Code), maxCode), fault))
	}
	return errors.Join(faults...)
}

// faults returns everything that is wrong with a definition. Each text completes "the code
// …".
func (d Definition) faults() (faults []string) {
	if !d.Code.wellFormed() {
		faults = append(faults, "does not match ^[a-z][a-z0-9_]{0,62}$")
	}
	if !d.Type.known() {
		faults = append(faults, fmt.Sprintf("has the unknown type %q", truncate(string(d.Type), maxCode)))
	}
	if d.Status < 400 || d.Status > 599 {
		faults = append(faults, fmt.Sprintf("has the status %d, which is not 400 to 599", d.Status))
	}
	if d.Message == "" {
		faults = append(faults, "has no default message")
	}
	return faults
}

func (c Code) wellFormed() bool {
	if c == "" || len(c) > 63 || c[0] < 'a' || c[0] > 'z' {
		return false
	}
	for i := range len(c) {
		if b := c[i]; (b < 'a' || b > 'z') && (b < '0' || b > '9') && b != '_' {
			return false
		}
	}
	return true
}
