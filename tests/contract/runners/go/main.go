// Runs the vectors (see ../../README.md) through go-redis: runner LUA VECTORS URL
package main

import (
	"context"
	"crypto/sha1"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/redis/go-redis/v9"
)

type runner struct {
	*redis.Client
	scripts        map[string]script
	passed, failed int
}

var ctx = context.Background()

func (r *runner) call(s step, prefix string) error {
	script, known := r.scripts[s.Script]
	if !known {
		return fmt.Errorf("there is no script %s", s.Script)
	}
	if (s.Reply == nil) == (s.Error == "") {
		return fmt.Errorf("either reply or error")
	}
	if !strings.HasPrefix(s.Error, "RSARG KEYS") && !script.takes(len(s.Keys)) {
		return fmt.Errorf("%s does not take %d keys", s.Script, len(s.Keys))
	}
	keys := make([]string, len(s.Keys))
	for i, key := range s.Keys {
		keys[i] = prefix + key
	}
	got, err := r.EvalSha(ctx, script.SHA1, keys, plain(s.Args).([]any)...).Result()
	if err == nil && s.Error == "" {
		err = differs(s.Script, got, s.Reply)
	} else if err == nil || s.Error == "" || !strings.HasPrefix(err.Error()+" ", s.Error+" ") {
		return fmt.Errorf("%s: %v %v, not %v %v", s.Script, got, err, s.Reply, s.Error)
	} else {
		err = nil
	}
	for key, wanted := range s.State {
		if err == nil {
			err = differs(s.Script+": "+key, r.held(prefix+key), wanted)
		}
	}
	return err
}

func (r *runner) run(data []byte, primitive, prefix string) {
	var vector struct {
		Name  string
		Steps []step
	}
	err, touched := strict(data, &vector), []string{prefix}
	for at := 0; at < len(vector.Steps) && err == nil; at++ {
		s := vector.Steps[at]
		for _, key := range s.Keys {
			touched = append(touched, prefix+key)
		}
		for key, given := range s.Given {
			touched = append(touched, prefix+key)
			if err == nil {
				err = r.give(prefix+key, given)
			}
		}
		if s.Given == nil {
			err = r.call(s, prefix)
		} else if s.Script != "" {
			err = fmt.Errorf("either given or script")
		}
		if err != nil {
			err = fmt.Errorf("step %d: %w", at+1, err)
		}
	}
	r.Del(ctx, touched...)
	r.count(primitive+": "+vector.Name, err)
	if err == nil {
		r.passed++
	}
}

func (r *runner) count(where string, err error) {
	if err != nil {
		r.failed++
		fmt.Printf("%s: %v\n", where, err)
	}
}

func (r *runner) load(script script, folder string) error {
	code, err := os.ReadFile(filepath.Join(folder, script.File))
	digest := fmt.Sprintf("%x", sha1.Sum(code))
	if loaded := r.ScriptLoad(ctx, string(code)).Val(); err == nil && (digest != script.SHA1 || loaded != digest) {
		err = fmt.Errorf("the digest of %s is %s, not %s", script.File, digest, script.SHA1)
	}
	return err
}

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: runner LUA VECTORS URL")
		os.Exit(2)
	}
	options, err := redis.ParseURL(os.Args[3])
	data, missing := os.ReadFile(filepath.Join(os.Args[1], "manifest.json"))
	var manifest struct{ Scripts map[string]script }
	if invalid := json.Unmarshal(data, &manifest); err != nil || missing != nil || invalid != nil {
		fmt.Fprintln(os.Stderr, err, missing, invalid)
		os.Exit(2)
	}
	r, files := runner{Client: redis.NewClient(options), scripts: manifest.Scripts}, map[string]bool{}
	for name, script := range r.scripts {
		r.count(name, r.load(script, os.Args[1]))
		primitive, _, _ := strings.Cut(name, ".")
		files[primitive] = true
	}
	for primitive := range files {
		var file struct {
			Format    int
			Primitive string
			Cases     []json.RawMessage
		}
		data, err := os.ReadFile(filepath.Join(os.Args[2], primitive+".json"))
		if err == nil {
			err = strict(data, &file)
		}
		if err == nil && (file.Format != 1 || file.Primitive != primitive) {
			err = fmt.Errorf("format %d of %s", file.Format, file.Primitive)
		}
		if err != nil {
			file.Cases = nil
		}
		r.count(primitive+".json", err)
		for at, each := range file.Cases {
			r.run(each, primitive, fmt.Sprintf("rv%d:%s%d:", os.Getpid(), primitive, at))
		}
	}
	fmt.Printf("%d passed, %d failed\n", r.passed, r.failed)
	if r.failed > 0 {
		os.Exit(1)
	}
}
