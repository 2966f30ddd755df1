package sqlstore

import (
	"embed"
	"fmt"
	"regexp"
	"strings"
)

// A Dialect is a kind of database. The zero value is invalid.
type Dialect int

// The dialects. SQLite must be 3.42 or later.
const (
	PostgreSQL Dialect = iota + 1
	SQLite
)

// The files are those of package pgstore, and schema_sqlite.sql.
//
//go:embed sql
var files embed.FS

// statements are the texts of sql/ for one pair of tables.
type statements struct {
	read, drop, lock, claim, claimUnlocked, lease string
	lockLease, renew, beginEffect                 string
	finish, release                               string
	unlease, owner, resolve, forget               string
	sweep, sweepLeases, listUnknown               string
	running                                       string // with {ids} for the placeholders
	waitForTransaction                            string
	tables                                        []string // and indexes
	schema                                        string
}

// validPrefix is a prefix of names that need no quotes, perhaps after the name of a schema.
var validPrefix = regexp.MustCompile(`^([a-z_][a-z0-9_]*\.)?[a-z_][a-z0-9_]{0,39}$`)

func newStatements(d Dialect, prefix string) *statements {
	if !validPrefix.MatchString(prefix) {
		panic(fmt.Sprintf("sqlstore: Options.Prefix %q: want at most 40 lower-case letters, digits and _, perhaps after a schema and a dot", prefix))
	}
	records, leases := prefix+"records", prefix+"leases"
	_, index, inSchema := strings.Cut(records, ".")
	if !inSchema {
		index = records
	}
	pairs := []string{"{records}", records, "{leases}", leases, "{index}", index}
	schema := "schema"
	switch d {
	case PostgreSQL:
		pairs = append(pairs,
			"{now}", "clock_timestamp()",
			"{microsecond}", "interval '1 microsecond'",
			"{seconds}(", "date_part('epoch', ",
			"{for_update}", "FOR UPDATE",
			"{skip_locked}", "FOR UPDATE SKIP LOCKED",
		)
	case SQLite:
		if inSchema {
			panic(fmt.Sprintf("sqlstore: Options.Prefix %q: SQLite has no schemas", prefix))
		}
		schema = "schema_sqlite"
		pairs = append(pairs,
			"{now}", "CAST(unixepoch('now','subsec') * 1000000 AS INTEGER)",
			"{microsecond}", "1",
			"{seconds}(", "0.000001 * (",
			"{for_update}", "",
			"{skip_locked}", "",
			"RETURNING r.", "RETURNING ", // which knows no alias
			"$", "?", // $1 would be a name
		)
	default:
		panic(fmt.Sprintf("sqlstore: unknown dialect %d", d))
	}
	names := strings.NewReplacer(pairs...)
	text := func(name string) string {
		b, err := files.ReadFile("sql/" + name + ".sql")
		if err != nil {
			panic(err) // no such file is embedded
		}
		return names.Replace(string(b))
	}
	statement := func(name string) string { return withoutComments(text(name)) }
	s := &statements{
		read:        statement("read"),
		drop:        statement("drop"),
		lock:        statement("lock"),
		claim:       strings.Replace(statement("claim"), "{unlocked}", "TRUE", 1),
		lease:       statement("lease"),
		lockLease:   statement("lock_lease"),
		renew:       statement("renew"),
		beginEffect: statement("begin_effect"),
		finish:      statement("finish"),
		release:     statement("release"),
		unlease:     statement("unlease"),
		owner:       statement("owner"),
		resolve:     statement("resolve"),
		forget:      statement("forget"),
		sweep:       statement("sweep"),
		sweepLeases: statement("sweep_leases"),
		listUnknown: statement("list_unknown"),
		running:     strings.Replace(statement("running"), "= ANY ("+d.placeholder(1)+")", "IN ({ids})", 1),
		tables:      []string{records, leases, records + "_expires_at", records + "_unknown"},
		schema:      text(schema),
	}
	if d == SQLite {
		// Only one transaction can write, so no one holds a lock on a record. A statement that
		// writes waits until the transaction before it has ended.
		s.claimUnlocked, s.waitForTransaction = s.claim, s.drop
		return s
	}
	// The number of the table keeps stores apart that have other tables in the same database.
	lock := "(CAST($6 AS bigint) # CAST(CAST('" + records + "' AS regclass) AS oid)::bigint)"
	s.claimUnlocked = strings.Replace(statement("claim"), "{unlocked}", "pg_try_advisory_xact_lock"+lock, 1)
	s.waitForTransaction = "SELECT pg_advisory_xact_lock" + strings.Replace(lock, "$6", "$1", 1)
	return s
}

// placeholder returns the name of an argument, from 1.
func (d Dialect) placeholder(i int) string {
	if d == SQLite {
		return fmt.Sprintf("?%d", i)
	}
	return fmt.Sprintf("$%d", i)
}

// withoutComments removes the lines that are comments, so that only the statement is sent.
func withoutComments(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "--") {
			lines = append(lines, line)
		}
	}
	return strings.TrimSpace(strings.Join(lines, ""))
}
