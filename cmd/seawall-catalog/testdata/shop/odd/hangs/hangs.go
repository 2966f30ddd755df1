// Package hangs says that it has started, and hangs.
package hangs

import (
	"os"
	"time"

	"github.com/seawall-go/seawall/apierror"
)

var Catalog = apierror.MustCatalog()

func init() {
	if f, err := os.Create(os.Getenv("SHOP_STARTED")); err == nil {
		_ = f.Close()
	}
	time.Sleep(time.Hour)
}
