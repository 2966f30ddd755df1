// Package seawall is the middleware chain.
package seawall
