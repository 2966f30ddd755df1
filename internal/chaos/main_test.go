package chaos_test

import (
	"flag"
	"os"
	"testing"

	"github.com/seawall-go/seawall/internal/chaos/brownout"
	"github.com/seawall-go/seawall/internal/chaos/limits"
	"github.com/seawall-go/seawall/internal/chaos/load"
	"github.com/seawall-go/seawall/internal/chaos/service"
	"github.com/seawall-go/seawall/internal/leakcheck"
)

// TestMain makes the test binary a process of a run if its first argument is a role.
func TestMain(m *testing.M) {
	brownout.Main()
	limits.Main()
	if len(os.Args) == 3 {
		switch os.Args[1] {
		case roleService:
			os.Exit(service.Main(os.Args[2:]))
		case roleClient:
			os.Exit(load.Main(os.Args[2:]))
		}
	}
	flag.Parse()
	leakcheck.Main(m)
}
