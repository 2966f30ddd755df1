// Package pgstore is a store.
package pgstore
