package apierror_test

import (
	"fmt"

	"github.com/seawall-go/seawall/apierror"
)

// NewCatalog reports every mistake, when the program starts.
func ExampleNewCatalog() {
	frozen := apierror.Definition{Code: "account_frozen", Type: apierror.TypePermission, Status: 403, Message: "The account is frozen."}
	teapot := apierror.Definition{Code: "Teapot", Type: apierror.TypeAPI, Status: 200, Message: "I am a teapot."}

	_, err := apierror.NewCatalog(frozen, frozen, teapot)

	fmt.Println(err)
	// Output:
	// apierror: the code "account_frozen" is defined twice: by argument 1 of NewCatalog and by argument 2 of NewCatalog
	// apierror: the code "Teapot" (argument 3 of NewCatalog) does not match ^[a-z][a-z0-9_]{0,62}$
	// apierror: the code "Teapot" (argument 3 of NewCatalog) has the status 200, which is not 400 to 599
}

// A reference page can be generated from the catalog.
func ExampleCatalog_Definitions() {
	catalog := apierror.MustCatalog(apierror.Definition{
		Code: "account_frozen", Type: apierror.TypePermission, Status: 403, Message: "The account is frozen.",
		Description: "The account's owner has frozen it.",
	})

	for _, d := range catalog.Definitions() {
		if d.Type == apierror.TypePermission {
			fmt.Printf("%d %s: %s\n", d.Status, d.Code, d.Description)
		}
	}
	// Output:
	// 403 permission_denied: The key is valid but lacks the required scope.
	// 403 account_frozen: The account's owner has frozen it.
}
