export default function ({ data }) {
  const { note, blobs } = unpack(data);
  if (note.query !== undefined) showInAddress(note.query);
  if (note.question) stage.hear(note, blobs[0]);
}
