export function SensorPage({ id }: { readonly id: string }) {
  return <p>{id}</p>
}
