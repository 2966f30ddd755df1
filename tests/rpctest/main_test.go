package rpctest_test

import (
	"log/slog"
	"testing"

	"github.com/seawall-go/seawall/internal/leakcheck"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // that of package idempotent
	leakcheck.Main(m)
}
