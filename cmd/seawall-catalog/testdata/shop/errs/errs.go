package errs

import "github.com/seawall-go/seawall/apierror"

var CardDeclined = apierror.Definition{
	Code:        "card_declined",
	Type:        apierror.TypeInvalidRequest,
	Status:      402,
	Message:     "The card was declined.",
	Description: "The bank refused the payment.",
	Resolution:  "Ask the customer for another card.",
}

var Catalog = apierror.MustCatalog(CardDeclined)
