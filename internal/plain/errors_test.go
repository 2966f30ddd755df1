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
