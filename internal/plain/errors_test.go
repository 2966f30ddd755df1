package plain_test

import (
	"errors"
	"testing"

	"github.com/seawall-go/seawall/internal/plain"
)

type broken struct{}

func (*broken) Error() string { panic("a typed nil") }

func TestErrorText(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		err  error
		want string
	}{
		{errors.New("plain"), "plain"},
		{errors.New(`dial "redis://user:secret@host:6379/0?token=secret": refused`), `dial "redis://…@host:6379/0?…": refused`},
		{(*broken)(nil), "(a *plain_test.broken whose Error method panicked)"},
	} {
		if got := plain.ErrorText(row.err); got != row.want {
			t.Errorf("%q, want %q", got, row.want)
		}
	}
}

// unprintable panics with itself, which fmt cannot print either.
type unprintable struct{}

func (u unprintable) Error() string { panic(u) }

func TestPanicText(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		v    any
		want string
	}{
		{nil, "<nil>"},
		{42, "42"},
		{errors.New("GET https://user:secret@host/?token=secret"), "GET https://…@host/?…"},
		{unprintable{}, "(a plain_test.unprintable that panics when it is printed)"},
	} {
		if got := plain.PanicText(row.v); got != row.want {
			t.Errorf("%q, want %q", got, row.want)
		}
	}
}
