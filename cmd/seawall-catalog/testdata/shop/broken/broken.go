// Package broken does not compile.
package broken

var Catalog = nothing
