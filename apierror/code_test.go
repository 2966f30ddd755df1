package apierror_test

import (
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
