# The same mailbox, read by Google's own Python client with batches of 50, and nothing stored. `backfill.rs` runs it.
import json
import os
import sys
import time

from google.oauth2.credentials import Credentials
from googleapiclient.discovery import build

address, token, most = sys.argv[1], sys.argv[2], int(sys.argv[3])
gmail = build(
    "gmail",
    "v1",
    credentials=Credentials(token=token),
    static_discovery=True,
    cache_discovery=False,
    client_options={"api_endpoint": address},
)
began = time.perf_counter()
ids, page_token = [], None
while len(ids) < most:
    page = gmail.users().messages().list(userId="me", maxResults=500, includeSpamTrash=True, pageToken=page_token).execute()
    ids += [it["id"] for it in page.get("messages", [])]
    page_token = page.get("nextPageToken")
    if not page_token:
        break
ids = ids[:most]
read = []


def answered(_, message, error):
    if error is not None:
        raise error
    read.append(message["id"])


for start in range(0, len(ids), 50):
    batch = gmail.new_batch_http_request(callback=answered)
    batch._batch_uri = address + "/batch"
    for one in ids[start : start + 50]:
        batch.add(gmail.users().messages().get(userId="me", id=one, format="metadata"))
    batch.execute()
times = os.times()
print(json.dumps({"messages": len(read), "seconds": time.perf_counter() - began, "cpu": times.user + times.system}))
