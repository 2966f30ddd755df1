package apierror_test

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/seawall-go/seawall/apierror"
)

var CardDeclined = apierror.Definition{
	Code:    "card_declined",
	Type:    apierror.TypeInvalidRequest,
	Status:  http.StatusPaymentRequired,
	Message: "The card was declined.",
}

// A service defines its codes as package variables.
func ExampleDefinition() {
	err := CardDeclined.Messagef("The card was declined: %s.", "it has expired")

	fmt.Println(err.Status(), err.Code(), err.Message())
	fmt.Println(errors.Is(err, CardDeclined))
	// Output:
	// 402 card_declined The card was declined: it has expired.
	// true
}
