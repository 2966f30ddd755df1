package pgtest

import (
	"slices"
	"strings"
)

// A script is what a client has its server execute.
type script struct {
	statements map[string]string // text by the name of a prepared statement
	portals    map[string]string // text by the name of a portal
	batch      int               // the number of the current one, from 0
	open       bool              // after BEGIN
	tx         transaction       // the current one
}

// A transaction is the set of its statements, in lower case.
type transaction map[string]bool

func (tx transaction) contains(text string) bool {
	for statement := range tx {
		if strings.Contains(statement, text) {
			return true
		}
	}
	return text == ""
}

func newScript() script {
	return script{statements: make(map[string]string), portals: make(map[string]string), tx: make(transaction)}
}

// add follows a message of the client. It returns the transactions that the message commits.
func (s *script) add(m message) (commits []transaction) {
	switch m.kind {
	case query:
		commits = s.execute(m.text())
	case parse:
		name, rest := cutString(m.body())
		s.statements[name], _ = cutString(rest)
	case bind:
		portal, rest := cutString(m.body())
		name, _ := cutString(rest)
		s.portals[portal] = s.statements[name]
	case execute:
		commits = s.execute(s.portals[m.text()])
	case closeName:
		s.close(m.text())
	}
	if m.endsBatch() {
		s.batch++
		if !s.open {
			s.tx = make(transaction) // each batch is a transaction
		}
	}
	return commits
}

// execute follows statements. It takes every semicolon for the end of one, also that in a string.
func (s *script) execute(text string) (commits []transaction) {
	for statement := range strings.SplitSeq(strings.ToLower(text), ";") {
		words := strings.Fields(statement)
		if len(words) == 0 {
			continue
		}
		switch words[0] {
		case "begin", "start":
			s.open = true // what the batch has done before becomes part of the transaction
		case "commit":
			commits = append(commits, s.tx)
			s.open, s.tx = false, make(transaction)
		case "rollback":
			if !slices.Contains(words, "to") { // a savepoint
				s.open, s.tx = false, make(transaction)
			}
		default:
			s.tx[statement] = true
		}
	}
	return commits
}

// close forgets a prepared statement or a portal. What begins with S or P.
func (s *script) close(what string) {
	if name, ok := strings.CutPrefix(what, "S"); ok {
		delete(s.statements, name)
	} else if name, ok := strings.CutPrefix(what, "P"); ok {
		delete(s.portals, name)
	}
}
