package idempotent_test

import (
	"log/slog"
	"testing"

	"github.com/seawall-go/seawall/internal/leakcheck"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // most of the tests make something fail
	leakcheck.Main(m)
}
