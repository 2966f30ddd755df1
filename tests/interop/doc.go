// Package interop tests seawall's chain together with middleware, routers and proxies of
// other projects.
//
// It is a separate module so that the core does not depend on them.
package interop
