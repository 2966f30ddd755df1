// Package pagetest tests the page of package apierror/reference in Chromium: its search, its links,
// the keyboard, accessibility with axe-core, and that it loads nothing and runs no text as code.
//
// To look at the page, save pictures of it:
//
//	go test -run=Screenshots -screenshots=/tmp/page
package pagetest
