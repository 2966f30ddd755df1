// Package list has definitions that another package adds to.
package list

import "github.com/seawall-go/seawall/apierror"

// All are the definitions of this package, and of others.
var All = []apierror.Definition{{Code: "listed", Type: apierror.TypeAPI, Status: 500, Message: "Listed."}}
