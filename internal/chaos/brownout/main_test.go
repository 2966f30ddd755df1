package brownout

import (
	"testing"

	"github.com/seawall-go/seawall/internal/leakcheck"
)

func TestMain(m *testing.M) {
	Main()
	leakcheck.Main(m)
}
