// The bill of materials of a release: CycloneDX 1.6 as JSON, the same bytes for the same contents.
import { Enums, Models, Serialize, Spec } from '@cyclonedx/cyclonedx-library';
import type { Inside } from './inside.ts';

/**
 * @param hash SHA-256 of the program
 * @param time of the commit that it was made from
 */
export function billOfMaterials(version: string, hash: string, time: Date, inside: readonly Inside[]): string {
  const program = new Models.Component(Enums.ComponentType.Application, 'lethe', {
    bomRef: 'lethe',
    version,
    licenses: new Models.LicenseRepository([new Models.SpdxLicense('Apache-2.0')]),
    hashes: new Models.HashDictionary([[Enums.HashAlgorithm['SHA-256'], hash]]),
  });
  const bom = new Models.Bom({ metadata: new Models.Metadata({ timestamp: time, component: program }) });
  for (const { name, version: own, licence, purl } of inside) {
    const isExpression = licence.includes(' ');
    const license = isExpression ? new Models.LicenseExpression(licence) : new Models.SpdxLicense(licence);
    const component = new Models.Component(Enums.ComponentType.Library, name, {
      bomRef: purl,
      version: own,
      purl,
      licenses: new Models.LicenseRepository([license]),
    });
    bom.components.add(component);
    program.dependencies.add(component.bomRef);
  }
  const serializer = new Serialize.JsonSerializer(new Serialize.JSON.Normalize.Factory(Spec.Spec1dot6));
  return `${serializer.serialize(bom, { sortLists: true, space: 2 })}\n`;
}
