// Package errs defines the codes of the shop.
package errs

import "github.com/seawall-go/seawall/apierror"

// Definitions.
var (
	CardDeclined = apierror.Definition{Code: "card_declined", Type: apierror.TypeInvalidRequest, Status: 402, Message: "The card was declined."}
	OrderLocked  = &apierror.Definition{Code: CodeOrderLocked, Type: apierror.TypeInvalidRequest, Status: 409, Message: "The order is locked."}
	Forgotten    = apierror.Definition{Code: "forgotten", Type: apierror.TypeAPI, Status: 500, Message: "No catalog has this."}
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
var All = append([]apierror.Definition{CardDeclined, *OrderLocked}, stock...)

// Catalog returns the catalog.
func Catalog() *apierror.Catalog {
	c, err := apierror.NewCatalog(append(All, Late())...)
	if err != nil {
		panic(err)
	}
	return c
}

// Late returns a definition.
func Late() apierror.Definition {
	return apierror.Definition{Code: "late", Type: apierror.TypeAPI, Status: 504, Message: "Too late."}
}
