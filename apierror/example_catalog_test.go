package apierror_test

import (
	"database/sql"
	"errors"
	"fmt"
	"net/http"

	"github.com/seawall-go/seawall/apierror"
)

// A service's own code, and the catalog that knows it.
var (
	cardDeclined = apierror.Definition{
		Code: "card_declined", Type: apierror.TypeInvalidRequest, Status: http.StatusPaymentRequired,
		Message: "The card was declined.", Description: "The bank refused the payment.",
	}
	ownCatalog = apierror.MustCatalog(cardDeclined)
)

func ExampleDefinition() {
	show(apierror.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
		return cardDeclined.Messagef("The card was declined: %s.", "it has expired") // or cardDeclined itself
	}))
	// Output:
	// 402 card_declined - The card was declined: it has expired.
}

// What cannot be right is refused when the program starts.
func ExampleNewCatalog() {
	_, err := apierror.NewCatalog(cardDeclined, cardDeclined, apierror.Definition{Code: "Teapot", Type: apierror.TypeAPI, Status: 200, Message: "m"})
	fmt.Println(err)
	// Output:
	// apierror: the code "card_declined" is defined twice: by argument 1 of NewCatalog and by argument 2 of NewCatalog
	// apierror: the code "Teapot" (argument 3 of NewCatalog) does not match ^[a-z][a-z0-9_]{0,62}$
	// apierror: the code "Teapot" (argument 3 of NewCatalog) has the status 200, which is not 400 to 599
}

// Map names the errors of the service's own layers, in one place. With a catalog a handler may
// return a bare code, too.
func ExampleRenderer() {
	rd := &apierror.Renderer{
		Catalog: ownCatalog,
		Map: func(err error) *apierror.Error {
			if errors.Is(err, sql.ErrNoRows) {
				return apierror.ResourceMissing("order")
			}
			return nil
		},
	}
	for _, err := range []error{
		fmt.Errorf("select: %w", sql.ErrNoRows),
		apierror.Code("card_declined"),
	} {
		show(rd.Handler(apierror.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return err })))
	}
	// Output:
	// 404 resource_missing - No such order.
	// 402 card_declined - The card was declined.
}

// The strict profile sends only the codes and statuses of the specification.
func ExampleRenderer_strict() {
	rd := &apierror.Renderer{Catalog: ownCatalog, Strict: true}
	for _, err := range []error{apierror.MethodNotAllowed(http.MethodGet), cardDeclined} {
		show(rd.Handler(apierror.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return err })))
	}
	// Output:
	// 404 resource_missing - The resource does not support this method.
	// 400 parameter_invalid - The card was declined.
}
