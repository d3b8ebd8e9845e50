package main

// What a chunked writer in front of a hold does, with the standard library alone: it learns the digest only while it
// writes, so it starts under a temporary name, sends a part whenever its buffer is full, completes, and moves.
//
// Its habits are those of the writers that are out there, bad ones included: the list of parts is a struct without JSON
// tags (PartNumber, ETag), the status of the start is not looked at, and giving up says the upload's id alone.

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"
)

const (
	holdBufferBytes = 5 << 20
	holdPartLimit   = 5 * time.Minute
	holdClaim       = "did:plc:interop"
)

type holdPart struct {
	PartNumber int
	ETag       string
}

type holdWriter struct {
	ctx      context.Context
	base     string
	id       string
	uploadID string
	buffer   *bytes.Buffer
	parts    []holdPart
	written  int64
	closed   bool
}

// holdPushed is what the command prints.
type holdPushed struct {
	Digest string `json:"digest"`
	Size   int64  `json:"size"`
	Parts  int    `json:"parts"`
	Temp   string `json:"temp"`
}

// holdPush sends a file as a blob of the hold, in writes of WRITE_BYTES.
func holdPush(ctx context.Context, args []string) (any, error) {
	writer, err := holdCopy(ctx, args)
	if err != nil {
		return nil, err
	}
	digest, err := holdDigest(args[0])
	if err != nil {
		return nil, err
	}
	if err := writer.commit(digest); err != nil {
		return nil, err
	}
	if _, err := writer.Write([]byte("late")); err == nil {
		return nil, errors.New("it took bytes after it was committed")
	}
	return holdPushed{digest, writer.written, len(writer.parts), writer.temp()}, nil
}

// holdGiveUp sends all but the last part of a file, and then gives up.
func holdGiveUp(ctx context.Context, args []string) (any, error) {
	writer, err := holdCopy(ctx, args)
	if err != nil {
		return nil, err
	}
	status, err := writer.post("/abort-multipart", map[string]any{"upload_id": writer.uploadID}, nil)
	if err != nil {
		return nil, err
	}
	return map[string]any{"status": status, "upload_id": writer.uploadID}, nil
}

// holdFetch asks where a blob may be fetched, and fetches it from there.
func holdFetch(ctx context.Context, args []string) (any, error) {
	writer := &holdWriter{ctx: ctx, base: args[0]}
	var told struct {
		URL string `json:"url"`
	}
	status, err := writer.post("/get-presigned-url", map[string]any{"did": holdClaim, "digest": args[1]}, &told)
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("no URL: status %d", status)
	}
	answer, err := holdSend(ctx, http.MethodGet, told.URL, "", nil)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	file, err := os.Create(args[2])
	if err != nil {
		return nil, err
	}
	defer file.Close()
	_, err = io.Copy(file, answer.Body)
	return answer.StatusCode, err
}

// holdCopy opens a writer and copies FILE into it, for the hold at URL, WRITE_BYTES at a time.
func holdCopy(ctx context.Context, args []string) (*holdWriter, error) {
	file, err := os.Open(args[0])
	if err != nil {
		return nil, err
	}
	defer file.Close()
	writeBytes, err := strconv.Atoi(args[2])
	if err != nil {
		return nil, err
	}
	writer := &holdWriter{
		ctx:    ctx,
		base:   args[1],
		id:     fmt.Sprintf("upload-%d", time.Now().UnixNano()),
		buffer: bytes.NewBuffer(make([]byte, 0, holdBufferBytes)),
		parts:  []holdPart{},
	}
	var told struct {
		UploadID string `json:"upload_id"`
	}
	if _, err := writer.post("/start-multipart", writer.about(nil), &told); err != nil {
		return nil, err
	}
	writer.uploadID = told.UploadID
	// Stripped of their shortcuts, a copy writes as much as its buffer has, as a handler copies a request's body.
	_, err = io.CopyBuffer(struct{ io.Writer }{writer}, struct{ io.Reader }{file}, make([]byte, writeBytes))
	return writer, err
}

func (w *holdWriter) temp() string { return "uploads/temp-" + w.id }

// Write buffers, and sends a part as soon as there is enough for one.
func (w *holdWriter) Write(data []byte) (int, error) {
	if w.closed {
		return 0, errors.New("the writer is closed")
	}
	count, _ := w.buffer.Write(data)
	w.written += int64(count)
	if w.buffer.Len() >= holdBufferBytes {
		return count, w.flush()
	}
	return count, nil
}

// flush sends what is buffered as the next part; its URL and its bytes share one time limit.
func (w *holdWriter) flush() error {
	if w.buffer.Len() == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(w.ctx, holdPartLimit)
	defer cancel()
	number := len(w.parts) + 1
	var told struct {
		URL string `json:"url"`
	}
	fields := w.about(map[string]any{"upload_id": w.uploadID, "part_number": number})
	if _, err := w.post("/part-presigned-url", fields, &told); err != nil {
		return err
	}
	answer, err := holdSend(ctx, http.MethodPut, told.URL, "", bytes.NewReader(w.buffer.Bytes()))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK && answer.StatusCode != http.StatusCreated {
		return fmt.Errorf("part %d: status %d", number, answer.StatusCode)
	}
	etag := answer.Header.Get("ETag")
	if etag == "" {
		return fmt.Errorf("part %d: no ETag", number)
	}
	w.parts = append(w.parts, holdPart{number, etag})
	w.buffer.Reset()
	return nil
}

// commit sends the rest, completes under the temporary name, and moves that to the digest.
func (w *holdWriter) commit(digest string) error {
	w.closed = true
	if err := w.flush(); err != nil {
		_, _ = w.post("/abort-multipart", map[string]any{"upload_id": w.uploadID}, nil)
		return err
	}
	fields := w.about(map[string]any{"upload_id": w.uploadID, "parts": w.parts})
	status, err := w.post("/complete-multipart", fields, nil)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("complete: status %d", status)
	}
	// The query is pasted together, as it is done out there: nothing in it is escaped.
	target := fmt.Sprintf("%s/move?from=%s&to=%s&did=%s", w.base, w.temp(), digest, holdClaim)
	answer, err := holdSend(w.ctx, http.MethodPost, target, "", nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	said, _ := io.ReadAll(answer.Body)
	if answer.StatusCode != http.StatusOK && answer.StatusCode != http.StatusCreated {
		return fmt.Errorf("move: status %d, %s", answer.StatusCode, said)
	}
	return nil
}

// about puts who claims to ask, and for what, before other fields.
func (w *holdWriter) about(more map[string]any) map[string]any {
	fields := map[string]any{"did": holdClaim, "digest": w.temp()}
	for name, value := range more {
		fields[name] = value
	}
	return fields
}

// post asks in JSON; the answer is decoded into `told` whatever its status is.
func (w *holdWriter) post(path string, fields map[string]any, told any) (int, error) {
	body, err := json.Marshal(fields)
	if err != nil {
		return 0, err
	}
	answer, err := holdSend(w.ctx, http.MethodPost, w.base+path, "application/json", bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	if told != nil {
		if err := json.NewDecoder(answer.Body).Decode(told); err != nil {
			return 0, err
		}
	}
	return answer.StatusCode, nil
}

// holdSend sends one request; the caller closes the body of its answer.
func holdSend(ctx context.Context, method, target, contentType string, body io.Reader) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, err
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	return http.DefaultClient.Do(request)
}

func holdDigest(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return "", err
	}
	return fmt.Sprintf("sha256:%x", hash.Sum(nil)), nil
}
