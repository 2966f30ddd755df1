// Package errs defines the codes of the shop. // want package:`defines \[.*card_declined .* late .* stock_empty .*\], unknown false`
package errs

import "github.com/seawall-go/seawall/apierror"

// Definitions.
var (
	CardDeclined = apierror.Definition{Code: "card_declined", Type: apierror.TypeInvalidRequest, Status: 402, Message: "The card was declined."} // want CardDeclined:`defines \[card_declined\]`
	OrderLocked  = &apierror.Definition{Code: CodeOrderLocked, Type: apierror.TypeInvalidRequest, Status: 409, Message: "The order is locked."}  // want OrderLocked:`defines \[order_locked\]`
	Forgotten    = apierror.Definition{Code: "forgotten", Type: apierror.TypeAPI, Status: 500, Message: "No catalog has this."}                  // want Forgotten:`defines \[forgotten\]`
)

// Codes.
const (
	CodeOrderLocked apierror.Code = "order_locked"
	CodeUnknown     apierror.Code = "unknown_code"
	CodeTimeout                   = apierror.CodeTimeout
)

// Changing does not have the code that it was declared with.
var Changing = apierror.Definition{Code: "changing"}

func init() { Changing.Code = "card_declined" }

var stock = []apierror.Definition{{Code: "stock_empty", Type: apierror.TypeInvalidRequest, Status: 409, Message: "Out of stock."}}

// All are the definitions, and more.
var All = append([]apierror.Definition{CardDeclined, *OrderLocked}, stock...) // want All:`defines \[card_declined order_locked stock_empty\]`

// Catalog returns the catalog.
func Catalog() *apierror.Catalog { // want Catalog:`defines \[card_declined late order_locked stock_empty\]`
	c, err := apierror.NewCatalog(append(All, Late())...)
	if err != nil {
		panic(err)
	}
	return c
}

// Late returns a definition.
func Late() apierror.Definition { // want Late:`defines \[late\]`
	return apierror.Definition{Code: "late", Type: apierror.TypeAPI, Status: 504, Message: "Too late."}
}
