package interop_test

import (
	"log/slog"
	"testing"

	"github.com/seawall-go/seawall/internal/leakcheck"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // the errors in these tests are intended
	leakcheck.Main(m)
}
