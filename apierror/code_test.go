package apierror_test

import (
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/seawall-go/seawall/apierror"
)

func TestMessagefHidesWrappedErrors(t *testing.T) {
	t.Parallel()
	secret := errors.New("secret-4711")
	for _, e := range []*apierror.Error{
		apierror.CodeAPIError.Messagef("It failed: %w", secret),
		apierror.CodeAPIError.Messagef("It failed: %+w, %[1]w", secret),
		declined.Messagef("%w, %v", io.EOF, secret),
	} {
		if strings.Contains(e.Message(), "4711") || strings.Contains(e.Message(), "EOF") {
			t.Error(e.Message())
		}
		equal(t, "the cause wraps the error", errors.Is(e.Cause(), secret) || errors.Is(e.Cause(), io.EOF), true)
	}
	equal(t, "cause", apierror.CodeTimeout.Messagef("broke: %w", secret).Cause().Error(), "broke: secret-4711")
	equal(t, "no cause", apierror.CodeTimeout.Messagef("broke: %v", secret).Cause(), nil)
	equal(t, "one", apierror.CodeTimeout.Messagef("broke: %w", secret).Message(), "broke: (see the log)")
	equal(t, "two", apierror.CodeTimeout.Messagef("%w, %w", secret, secret).Message(), "(see the log), (see the log)")
	equal(t, "without", apierror.CodeAPIError.Messagef("wow %d%%: %v", 5, io.EOF).Message(), "wow 5%: EOF")
}

func TestMessagefHidesErrorsBesideAnArgumentOfAnyKind(t *testing.T) {
	t.Parallel()
	secret := secretError{"secret-4711"}
	for name, e := range map[string]*apierror.Error{
		"nil":             apierror.CodeAPIError.Messagef("%w after %v", nil, secret),
		"several nil":     apierror.CodeAPIError.Messagef("%w, %w after %v", nil, nil, secret),
		"not an error":    declined.Messagef("%w after %v", "x", secret),
		"as a Go value":   apierror.CodeAPIError.Messagef("%w: %#v", io.EOF, secret),
		"as a struct":     apierror.CodeAPIError.Messagef("%w: %d", io.EOF, secret),
		"in hexadecimals": apierror.CodeAPIError.Messagef("%w: %x", io.EOF, secret),
	} {
		if strings.Contains(e.Message(), "4711") || strings.Contains(e.Message(), hex.EncodeToString([]byte("4711"))) {
			t.Errorf("%s: %s", name, e.Message())
		}
	}
}

// secretError is a struct, which fmt prints field by field for some verbs.
type secretError struct{ text string }

func (e secretError) Error() string { return e.text }
