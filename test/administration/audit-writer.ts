// Writes an audit log as fast as it goes, and tells the number of the last entry whenever what it had recorded is on the disk: for a test that kills it.
import { AuditEvent, openAudit } from '../../engine/administration/audit.ts';
import { verifyAudit } from '../../engine/administration/audit-verify.ts';
import { systemClock } from '../../engine/clock.ts';
import { silentLog } from '../../engine/log.ts';

const file = process.argv[2]!;
for (;;) {
  const audit = openAudit({ file, rotateBytes: 4_096, keepFiles: 1_000, key: null }, systemClock, silentLog);
  for (let left = 5; left > 0; left--) audit.record(AuditEvent.RELOAD);
  await audit.close();
  process.stdout.write(`${verifyAudit(file, null).last!.sequence}\n`);
}
